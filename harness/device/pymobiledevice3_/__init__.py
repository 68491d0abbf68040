"""A phone through pymobiledevice3's public API; the only package that imports it.

One package for one library, so that a change of its API is met in one place (docs/decisions/0005). Two facts shape
it: the library holds one userspace tunnel per process, and finds usbmuxd through an environment variable where it
offers no argument. So a process of ours drives one phone at a time, and `Pymobiledevice3Transport.open` sets that
variable for it.
"""

from harness.device.pymobiledevice3_.attached import AttachedPhone, attached_phones
from harness.device.pymobiledevice3_.glance import glance
from harness.device.pymobiledevice3_.hotplug import attachments
from harness.device.pymobiledevice3_.transport import Pymobiledevice3Transport

__all__ = ["AttachedPhone", "Pymobiledevice3Transport", "attached_phones", "attachments", "glance"]

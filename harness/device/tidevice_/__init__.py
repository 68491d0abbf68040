"""A phone through tidevice; the only package that imports it.

tidevice is synchronous, has no limits in time, and was last changed in 2023. Of it we use what is sound: the
conversations with usbmuxd, lockdownd and the developer services (below iOS 17), each in a thread that can be given up.
Left aside, and why, is listed in docs/transports.md. Pairing is pymobiledevice3's job: tidevice's own needs a pyOpenSSL
that is incompatible with it.
"""

import logging

from harness.device.tidevice_.transport import TideviceTransport

# its own words about broken connections, tracebacks included; ours are StepErrors
logging.getLogger("tidevice").setLevel(logging.CRITICAL + 1)

__all__ = ["TideviceTransport"]

"""To which USB root hub a phone is attached: phones of one hub share its speed, so they are filled one by one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.phone import PhoneFacts, PhoneKind

LINUX_USB_DEVICES = Path("/sys/bus/usb/devices")
# How every client library of this program finds usbmuxd when it is not told.
ADDRESS_VARIABLE = "USBMUXD_SOCKET_ADDRESS"
WHOLE_HOST = "host"
_BUS = re.compile(r"[0-9]{1,4}\Z")
_AT_A_HUB = re.compile(r"(?P<hub>[0-9]+(?:-[0-9.]+)?)[-.](?P<port>[0-9]+)\Z")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]+")


def root_hub(facts: PhoneFacts, devices: Path = LINUX_USB_DEVICES) -> str:
    """A short name that phones of one root hub have in common, made of letters, digits and dashes.

    A virtual phone hangs on its usbmuxd. Of a physical one Linux tells the bus; where nothing tells (macOS, Wi-Fi),
    the whole host counts as one hub.
    """
    if facts.kind is PhoneKind.VIRTUAL:
        address = _NOT_IN_NAMES.sub("-", os.environ.get(ADDRESS_VARIABLE, "")).strip("-")
        return f"virtual-{address[-80:]}".strip("-")
    bus = _linux_bus(facts.udid.replace("-", ""), devices)
    return WHOLE_HOST if bus is None else f"bus-{bus}"


@dataclass(frozen=True)
class UsbPort:
    """Where a phone is plugged in, in the words of `uhubctl`."""

    location: str
    """Of the hub: `1` is the root hub of bus 1, `1-2.3` a hub behind it."""
    number: str


def port_of(udid: str, devices: Path = LINUX_USB_DEVICES) -> UsbPort | None:
    """The hub's port at which a phone is; None where nothing tells (macOS, no such phone)."""
    entry = _entry_of(udid.replace("-", ""), devices)
    match = None if entry is None else _AT_A_HUB.match(entry.name)
    return None if match is None else UsbPort(match["hub"], match["port"])


def _linux_bus(serial: str, devices: Path) -> str | None:
    """The bus number is the root hub's: Linux gives each of a controller's root hubs a bus of its own."""
    entry = _entry_of(serial, devices)
    bus = "" if entry is None else _read(entry / "busnum")
    return bus if _BUS.match(bus) else None


def _entry_of(serial: str, devices: Path) -> Path | None:
    try:
        entries = sorted(devices.iterdir())
    except OSError:
        return None
    # a phone pads its serial number with zero bytes where the UDID is shorter than the descriptor
    return next((entry for entry in entries if _read(entry / "serial").strip("\0").lower() == serial.lower()), None)


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""

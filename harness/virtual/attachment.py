"""How usbmuxd lists a phone: the properties of its Attached event, on a cable or on Wi-Fi."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

from harness.virtual.state import Connection

if TYPE_CHECKING:
    from harness.virtual.state import PhoneState

USB_PRODUCT_IPHONE = 0x12A8
HIGH_SPEED_BITS = 480_000_000
FIRST_LOCATION = 0x14100000
_AF_INET = 2
_SOCKADDR_BYTES = 16


def attached(state: PhoneState, device_id: int) -> dict[str, Any]:
    """The Attached event of a phone; ListDevices answers with the same."""
    properties: dict[str, Any] = {"DeviceID": device_id, "SerialNumber": state.udid, "UDID": state.udid}
    if state.connection is Connection.WIFI:
        address = _network_address(state)
        host = ".".join(str(part) for part in address)
        properties |= {
            "ConnectionType": "Network",
            "EscapedFullServiceName": f"{state.wifi_address}@{host}._apple-mobdev2._tcp.local.",
            "InterfaceIndex": 1,
            # a BSD sockaddr_in: its own length, the family, the port, the address, eight bytes of nothing
            "NetworkAddress": struct.pack(">BBH4s8x", _SOCKADDR_BYTES, _AF_INET, 0, address),
        }
    else:
        properties |= {
            "ConnectionSpeed": HIGH_SPEED_BITS,
            "ConnectionType": "USB",
            "LocationID": FIRST_LOCATION + device_id - 1,
            "ProductID": USB_PRODUCT_IPHONE,
            "USBSerialNumber": state.udid.replace("-", ""),
        }
    return {"MessageType": "Attached", "DeviceID": device_id, "Properties": properties}


def _network_address(state: PhoneState) -> bytes:
    """A loopback address of its own: libimobiledevice connects there by itself and is refused at once.

    An address of a real network would make it wait, and could belong to somebody.
    """
    digest = hashlib.sha256(state.udid.encode()).digest()
    return bytes([127, 64 | digest[0] & 0x3F, digest[1], 1 + digest[2] % 254])

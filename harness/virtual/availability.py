"""Which lockdown services a phone offers, by its iOS version and by what its owner allows.

- The developer tunnel (CoreDeviceProxy) can be had through lockdownd from iOS 17.4 on. From 17.0 to 17.3 it takes a
  pairing over the cable's own network, with root rights on the host: not offered here.
- Before iOS 17 developer services are behind DVTSecureSocketProxy, if the developer image is mounted; a later phone
  must not offer it, because clients choose their way by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.virtual.state import PhoneState

CORE_DEVICE_PROXY = "com.apple.internal.devicecompute.CoreDeviceProxy"
DVT_SECURE_SOCKET_PROXY = "com.apple.instruments.remoteserver.DVTSecureSocketProxy"
TUNNEL_SINCE = (17, 4)
REMOTE_XPC_SINCE = (17,)


def is_offered(service: str, state: PhoneState) -> bool:
    """Whether lockdownd of this phone, as it is now, starts the service."""
    if service == CORE_DEVICE_PROXY:
        return state.os_numbers >= TUNNEL_SINCE
    if service == DVT_SECURE_SOCKET_PROXY:
        return state.os_numbers < REMOTE_XPC_SINCE and state.developer_services
    return True

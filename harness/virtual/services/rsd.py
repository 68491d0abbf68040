"""Remote service discovery: a RemoteXPC service that says, unasked, which port each service of the phone has.

Classic services are offered as "<name>.shim.remote": a check-in of three property lists, then the very
conversation lockdownd would have started, without TLS (the tunnel is the trusted channel).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.virtual.services import app_service, dtservicehub, lockdown, open_stdio
from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.services.guard import guarded
from harness.virtual.services.remote_service import RemoteService
from harness.virtual.stream import Stream
from harness.virtual.tunnel import StreamHandler
from harness.virtual.wire.plist import PlistFrameError
from harness.virtual.wire.xpc import UInt64, XpcObject

if TYPE_CHECKING:
    from harness.virtual.phone import Handler, Phone

logger = logging.getLogger(__name__)

TRUSTED_LOCKDOWN = "com.apple.mobile.lockdown.remote.trusted"
DTSERVICEHUB = "com.apple.instruments.dtservicehub"
SHIM_SUFFIX = ".shim.remote"
SHIM_ENTITLEMENT = TRUSTED_LOCKDOWN
INSTRUMENTS_ENTITLEMENT = "com.apple.private.dt.instruments.dtservicehub.client"
CORE_DEVICE_ENTITLEMENT = "com.apple.private.CoreDevice.canInstallCustomerContent"
"""Of appservice and openstdiosocket in published lists of what phones announce."""
MESSAGING_PROTOCOL_VERSION = UInt64(7)
REMOTE_XPC_VERSION_FLAGS = UInt64(0x0100000000000006)
"""Both as current phones and hosts announce themselves."""

Listen = Callable[[StreamHandler], int]


@dataclass(frozen=True)
class _Offer:
    handler: Handler
    entitlement: str
    properties: dict[str, XpcObject] = field(default_factory=dict)


def offer(phone: Phone, listen: Listen) -> int:
    """Puts every service of `phone` on a port by `listen`; returns the port of remote service discovery itself."""
    services: dict[str, XpcObject] = {}
    for name, entry in _offers(phone).items():
        port = listen(_bound(guarded(name.removesuffix(SHIM_SUFFIX), entry.handler), phone))
        services[name] = {
            "Entitlement": entry.entitlement,
            "Port": str(port),
            "Properties": {**entry.properties},
        }
    return listen(_control(phone, _handshake(phone, services)))


def _offers(phone: Phone) -> Mapping[str, _Offer]:
    offers = {TRUSTED_LOCKDOWN: _Offer(_checked_in(lockdown.serve_trusted), SHIM_ENTITLEMENT)}
    for name, handler in phone.services.items():
        offers[name + SHIM_SUFFIX] = _Offer(_checked_in(handler), SHIM_ENTITLEMENT)
    if phone.state.developer_services:
        # these come with the developer image, which a phone mounts only in Developer Mode
        properties: dict[str, XpcObject] = {"Features": ["com.apple.dt.profile"], "version": UInt64(1)}
        offers[DTSERVICEHUB] = _Offer(dtservicehub.serve, INSTRUMENTS_ENTITLEMENT, properties)
        features: list[XpcObject] = [*app_service.features(phone.state.os_numbers)]
        offers[app_service.SERVICE_NAME] = _core_device(app_service.serve, features)
        offers[open_stdio.SERVICE_NAME] = _core_device(open_stdio.serve, [])
    return offers


def _core_device(handler: Handler, features: list[XpcObject]) -> _Offer:
    properties: dict[str, XpcObject] = {"Features": features, "ServiceVersion": UInt64(1), "UsesRemoteXPC": True}
    return _Offer(handler, CORE_DEVICE_ENTITLEMENT, properties)


def _handshake(phone: Phone, services: dict[str, XpcObject]) -> dict[str, XpcObject]:
    state = phone.state
    return {
        "MessageType": "Handshake",
        "MessagingProtocolVersion": MESSAGING_PROTOCOL_VERSION,
        # the same phone must be recognised by the same UUID over several connections
        "UUID": uuid.uuid5(uuid.NAMESPACE_OID, state.udid),
        "Services": services,
        "Properties": {
            "UniqueDeviceID": state.udid,
            "UniqueChipID": UInt64(state.ecid),
            "ProductType": state.product_type,
            "ProductName": "iPhone OS",
            "OSVersion": state.os_version,
            "BuildVersion": state.os_build,
            "HWModel": state.hardware_model,
            "BoardId": UInt64(state.board_id),
            "ChipID": UInt64(state.chip_id),
            "CPUArchitecture": state.cpu_architecture,
            "DeviceClass": "iPhone",
            "RemoteXPCVersionFlags": REMOTE_XPC_VERSION_FLAGS,
            "SensitivePropertiesVisible": True,
        },
    }


def _control(phone: Phone, handshake: dict[str, XpcObject]) -> StreamHandler:
    async def serve(stream: Stream) -> None:
        # the client's own Handshake asks for nothing
        strict = phone.switches.strict_http2_windows
        await RemoteService(stream, greeting=handshake, strict_windows=strict).run()

    return serve


def _checked_in(handler: Handler) -> Handler:
    async def serve(stream: Stream, phone: Phone) -> None:
        try:
            request = await receive_plist(stream)
        except PlistFrameError as error:
            logger.warning("a client did not check in: %s", error)
            return
        if request is None or request.get("Request") != "RSDCheckin":
            return
        await send_plist(stream, {"Request": "RSDCheckin"})
        await send_plist(stream, {"Request": "StartService"})
        await handler(stream, phone)

    return serve


def _bound(handler: Handler, phone: Phone) -> StreamHandler:
    async def serve(stream: Stream) -> None:
        await handler(stream, phone)

    return serve

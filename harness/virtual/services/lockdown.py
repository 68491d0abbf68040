"""lockdownd: who the phone is, who may talk to it, and where its services are.

`serve` is port 62078 over usbmux (pairing, TLS, StartService); `serve_trusted` is the same conversation behind the
tunnel, where trust has been settled already.
"""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any

from harness.virtual.events import NotificationPosted
from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.services.guard import guarded
from harness.virtual.services.notification_proxy import DEVICE_NAME_CHANGED
from harness.virtual.services.values import all_values, domain_values
from harness.virtual.state import Trust
from harness.virtual.trust import BadPairRecord
from harness.virtual.wire.plist import Plist, PlistFrameError, encode

if TYPE_CHECKING:
    from harness.virtual.phone import Handler, Phone, PortHandler
    from harness.virtual.stream import SocketStream, Stream

LOCKDOWN_PORT = 62078
NAME_LIMIT_CHARS = 255
_PAIRING_ERRORS = {
    Trust.PENDING: "PairingDialogResponsePending",
    Trust.DENIED: "UserDeniedPairing",
    Trust.LOCKED: "PasswordProtected",
}


async def serve(stream: SocketStream, phone: Phone) -> None:
    """The whole of lockdownd for one client."""
    host_id: str | None = None
    while True:
        request = await _receive(stream)
        if request is None:
            return
        kind = request.get("Request")
        if kind == "StartSession":
            error = _session_error(request, phone, host_id)
            if error is not None:
                await send_plist(stream, {"Request": kind, "Error": error})
                continue
            host_id = str(request["HostID"])
            answer = {"Request": kind, "SessionID": str(uuid.uuid4()).upper(), "EnableSessionSSL": True}
            await stream.start_tls(phone.hosts.tls_context(host_id), before=encode(answer))
            continue
        if kind in ("Pair", "ValidatePair", "Unpair"):
            await send_plist(stream, {"Request": kind, **_pairing(kind, request, phone)})
        elif kind == "StartService":
            await send_plist(stream, {"Request": kind, **_start_service(request, phone, host_id)})
        else:
            await send_plist(stream, _answer(request, phone, paired=host_id is not None))
        # After StopSession a real phone goes back to plain text; every client measured closes here instead, and
        # asyncio cannot take TLS off a stream.
        if kind in ("Goodbye", "StopSession"):
            return


async def serve_trusted(stream: Stream, phone: Phone) -> None:
    """The conversation of `com.apple.mobile.lockdown.remote.trusted`, after its check-in: values, no sessions."""
    while True:
        request = await _receive(stream)
        if request is None:
            return
        await send_plist(stream, _answer(request, phone, paired=True))
        if request.get("Request") == "Goodbye":
            return


async def _receive(stream: Stream) -> Plist | None:
    try:
        return await receive_plist(stream)
    except PlistFrameError:
        return None  # not a lockdown client: hang up on it


def _answer(request: Plist, phone: Phone, *, paired: bool) -> dict[str, Any]:
    """Answers what needs no session of its own."""
    kind = request.get("Request")
    answer: dict[str, Any] = {"Request": kind if isinstance(kind, str) else ""}
    if kind == "QueryType":
        return {**answer, "Type": "com.apple.mobile.lockdown"}
    if kind == "GetValue":
        return {**answer, **_get_value(request, phone, paired=paired)}
    if kind in ("SetValue", "RemoveValue"):
        return {**answer, **_set_value(request, phone, paired=paired)}
    if kind in ("Goodbye", "StopSession"):
        return answer
    return {**answer, "Error": "UnsupportedRequest"}


def _get_value(request: Plist, phone: Phone, *, paired: bool) -> dict[str, Any]:
    domain, key = request.get("Domain"), request.get("Key")
    answer: dict[str, Any] = {}
    if isinstance(domain, str) and domain:
        answer["Domain"] = domain
        if not paired:
            return {**answer, "Error": "GetProhibited"}
        values = domain_values(phone, domain)
    else:
        values = all_values(phone, paired=paired)
    if not isinstance(key, str) or not key:
        return {**answer, "Value": values}
    answer["Key"] = key
    if key in values:
        return {**answer, "Value": values[key]}
    hidden = not paired and key in all_values(phone, paired=True)
    return {**answer, "Error": "GetProhibited" if hidden else "MissingValue"}


def _set_value(request: Plist, phone: Phone, *, paired: bool) -> dict[str, Any]:
    if not paired:
        return {"Error": "SetProhibited"}
    name = request.get("Value")
    if request.get("Request") != "SetValue" or request.get("Domain") or request.get("Key") != "DeviceName":
        return {"Error": "SetProhibited"}
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT_CHARS:
        return {"Error": "InvalidValue"}
    phone.state.rename(name)
    phone.events.emit(NotificationPosted(DEVICE_NAME_CHANGED))
    return {"Key": "DeviceName", "Value": name}


def _pairing(kind: str, request: Plist, phone: Phone) -> dict[str, Any]:
    record = request.get("PairRecord")
    host_id = record.get("HostID") if isinstance(record, dict) else None
    if kind == "ValidatePair":
        return {} if phone.hosts.is_paired(host_id) else {"Error": "InvalidHostID"}
    if kind == "Unpair":
        phone.hosts.unpair(host_id)
        return {}
    if (error := _PAIRING_ERRORS.get(phone.state.trust)) is not None:
        return {"Error": error}
    try:
        phone.hosts.pair(record)
    except BadPairRecord as problem:
        return {"Error": "InvalidPairRecord", "ErrorDescription": str(problem)}
    return {"EscrowBag": secrets.token_bytes(32)}


def _session_error(request: Plist, phone: Phone, host_id: str | None) -> str | None:
    if host_id is not None:
        return "SessionActive"
    if not phone.hosts.is_paired(request.get("HostID")):
        return "InvalidHostID"
    if phone.state.trust is Trust.LOCKED:
        return "PasswordProtected"
    return None


def _start_service(request: Plist, phone: Phone, host_id: str | None) -> dict[str, Any]:
    name = request.get("Service")
    service = phone.services.get(name) if isinstance(name, str) else None
    if service is None or not isinstance(name, str):
        return {"Error": "InvalidService"}
    if host_id is None:
        return {"Error": "NoRunningSession"}
    if (refusal := phone.switches.refused_services.get(name)) is not None:
        return {"Error": refusal}
    service = guarded(name, service)
    if phone.state.plain_services:
        return {"Service": name, "Port": phone.offer_port(service, tls=False), "EnableServiceSSL": False}
    port = phone.offer_port(_behind_tls(service, host_id))
    return {"Service": name, "Port": port, "EnableServiceSSL": True}


def _behind_tls(service: Handler, host_id: str) -> PortHandler:
    """A port that demands TLS from the same host before it lets the service speak."""

    async def handle(stream: SocketStream, phone: Phone) -> None:
        try:
            context = phone.hosts.tls_context(host_id)
        except KeyError:
            return  # unpaired between StartService and the connection
        await stream.start_tls(context)
        await service(stream, phone)

    return handle

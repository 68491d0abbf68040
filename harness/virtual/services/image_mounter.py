"""com.apple.mobile.mobile_image_mounter: the developer image, without which there are no developer services.

EMULATED: an image's bytes are counted and thrown away, its signature is not checked, and the phone says of every image
that it has been personalised before (so that no client has to ask Apple's signing server about a phone that is none).
Real are the order of the conversation, the refusals, and what being mounted means: developer services appear in the
next tunnel (before iOS 17: at the next StartService).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from harness.virtual.events import NotificationPosted
from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.services.notification_proxy import DEVELOPER_IMAGE_MOUNTED
from harness.virtual.state import Trust
from harness.virtual.wire.plist import Plist, PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.state import PhoneState
    from harness.virtual.stream import Stream

IMAGE_LIMIT_BYTES = 1024 * 1024 * 1024
"""A developer image has some 20 to 200 MB."""
SIGNATURE_LIMIT_BYTES = 64 * 1024
PERSONALIZED_SINCE = (17,)
DEVELOPER_MODE_SINCE = (16,)


class _Refused(Exception):
    """An answer with `Error`: its name, and the words clients look into."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


async def serve(stream: Stream, phone: Phone) -> None:
    """Answers commands until Hangup or until the client goes."""
    received: set[str] = set()
    while True:
        try:
            request = await receive_plist(stream)
        except PlistFrameError:
            return
        if request is None:
            return
        command = request.get("Command")
        try:
            if command == "Hangup":
                await send_plist(stream, {"Goodbye": True})
                return
            if command == "ReceiveBytes":
                received.add(await _receive_image(stream, request))
                answer: dict[str, Any] = {"Status": "Complete"}
            elif command == "MountImage":
                answer = _mount(request, phone, received)
            else:
                answer = _answer(request, phone.state)
        except _Refused as refusal:
            answer = {"Error": refusal.name, "DetailedError": str(refusal)}
        await send_plist(stream, answer)


def _answer(request: Plist, state: PhoneState) -> dict[str, Any]:
    match request.get("Command"):
        case "LookupImage":
            if state.developer_image_mounted and request.get("ImageType") == image_type(state):
                return {"Status": "Complete", "ImagePresent": True, "ImageSignature": [_signature(state)]}
            return {"Status": "Complete", "ImagePresent": False}
        case "CopyDevices":
            return {"Status": "Complete", "EntryList": [_entry(state)] if state.developer_image_mounted else []}
        case "UnmountImage":
            return _unmount(request, state)
        case "QueryDeveloperModeStatus":
            return {"DeveloperModeStatus": state.developer_mode}
        case "QueryNonce":
            return {"PersonalizationNonce": _digest(state, f"nonce {state.personalization_nonces_rolled}")}
        case "RollPersonalizationNonce":
            state.personalization_nonces_rolled += 1
            return {"Status": "Complete"}
        case "QueryPersonalizationIdentifiers":
            return {"PersonalizationIdentifiers": _identifiers(state)}
        case "QueryPersonalizationManifest":
            return {"Status": "Complete", "ImageSignature": _signature(state)}
        case command:
            raise _Refused("UnknownCommand", f"no command {str(command)[:100]!r}")


async def _receive_image(stream: Stream, request: Plist) -> str:
    """Takes an image's bytes and forgets them; returns its type."""
    kind, size_bytes = request.get("ImageType"), request.get("ImageSize")
    if not isinstance(kind, str) or type(size_bytes) is not int or size_bytes <= 0:
        raise _Refused("MissingImageSize", "ReceiveBytes needs ImageType and a positive ImageSize")
    if size_bytes > IMAGE_LIMIT_BYTES:
        raise _Refused("DiskFull", f"an image of {size_bytes} bytes; the limit is {IMAGE_LIMIT_BYTES}")
    await send_plist(stream, {"Status": "ReceiveBytesAck"})
    left_bytes = size_bytes
    while left_bytes:
        # exactly what is announced: the next command follows without a gap
        data = await stream.receive(min(left_bytes, 256 * 1024))
        if not data:
            raise _Refused("ReceiveBytesFailed", f"the client left with {left_bytes} bytes to go")
        left_bytes -= len(data)
    return kind


def _mount(request: Plist, phone: Phone, received: set[str]) -> dict[str, Any]:
    state = phone.state
    kind, signature = request.get("ImageType"), request.get("ImageSignature")
    if not isinstance(signature, bytes) or not 0 < len(signature) <= SIGNATURE_LIMIT_BYTES:
        raise _Refused("MissingImageSignature", f"ImageSignature must be 1 to {SIGNATURE_LIMIT_BYTES} bytes")
    if kind != image_type(state):
        raise _Refused("ImageMountFailed", f"iOS {state.os_version} takes images of type {image_type(state)}")
    if state.trust is Trust.LOCKED:
        raise _Refused("DeviceLocked", "the phone is locked")
    if state.os_numbers >= DEVELOPER_MODE_SINCE and not state.developer_mode:
        raise _Refused("ImageMountFailed", "Developer mode is not enabled on this device")
    if state.developer_image_mounted:
        raise _Refused("ImageMountFailed", f"Disk image is already mounted at {mount_path(state)}")
    if kind not in received:
        raise _Refused("ImageMountFailed", "no image of this type has been received")
    state.developer_image_mounted = True
    phone.events.emit(NotificationPosted(DEVELOPER_IMAGE_MOUNTED))
    return {"Status": "Complete"}


def _unmount(request: Plist, state: PhoneState) -> dict[str, Any]:
    path = request.get("MountPath")
    if not state.developer_image_mounted or path != mount_path(state):
        raise _Refused("UnmountFailed", f"There is no matching entry in the device map for {str(path)[:100]!r}")
    state.developer_image_mounted = False
    return {"Status": "Complete"}


def image_type(state: PhoneState) -> str:
    """The kind of developer image this iOS takes."""
    return "Personalized" if state.os_numbers >= PERSONALIZED_SINCE else "Developer"


def mount_path(state: PhoneState) -> str:
    """Where it is mounted."""
    return "/System/Developer" if state.os_numbers >= PERSONALIZED_SINCE else "/Developer"


def _entry(state: PhoneState) -> dict[str, Any]:
    personalized = {"PersonalizedImageType": "DeveloperDiskImage"} if state.os_numbers >= PERSONALIZED_SINCE else {}
    return {
        "DiskImageType": image_type(state),
        "ImageSignature": _signature(state),
        "IsMounted": True,
        "MountPath": mount_path(state),
        **personalized,
    }


def _identifiers(state: PhoneState) -> dict[str, Any]:
    return {
        "BoardId": state.board_id,
        "ChipID": state.chip_id,
        "SecurityDomain": 1,
        "UniqueChipID": state.ecid,
        "Ap,OSLongVersion": state.os_version,
        "Ap,ProductType": state.product_type,
    }


def _signature(state: PhoneState) -> bytes:
    """In the place of a signature or a ticket; the same every time, and none of Apple's."""
    return b"virtual phone: no ticket of Apple's " + _digest(state, "image")


def _digest(state: PhoneState, word: str) -> bytes:
    return hashlib.sha256(f"{state.udid} {word}".encode()).digest()

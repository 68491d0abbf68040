"""com.apple.mobile.house_arrest: vends an app's container (developer builds) or its Documents (file sharing)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.services.files import Place, serve_directory
from harness.virtual.wire.plist import PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream


async def serve(stream: Stream, phone: Phone) -> None:
    """One request, one answer, and then AFC on the same stream."""
    try:
        request = await receive_plist(stream)
    except PlistFrameError:
        return
    if request is None:
        return
    command, identifier = request.get("Command"), request.get("Identifier")
    if command not in ("VendContainer", "VendDocuments"):
        await send_plist(stream, {"Error": "UnknownCommand"})
        return
    app = phone.apps.get(identifier) if isinstance(identifier, str) else None
    if app is None:
        await send_plist(stream, {"Error": "ApplicationLookupFailed"})
        return
    documents_only = command == "VendDocuments"
    allowed = app.info.get("UIFileSharingEnabled") is True if documents_only else app.developer_signed
    if not allowed:
        await send_plist(stream, {"Error": "InstallationLookupFailed"})
        return
    app.make_container()
    await send_plist(stream, {"Status": "Complete"})
    only = "Documents" if documents_only else None
    await serve_directory(stream, phone, app.container, only=only, place=Place.CONTAINER)

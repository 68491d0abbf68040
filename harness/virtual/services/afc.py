"""com.apple.afc: files under Media, where installers stage packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.virtual.services.files import serve_directory

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream


async def serve(stream: Stream, phone: Phone) -> None:
    """Serves Media until the client goes."""
    await serve_directory(stream, phone, phone.state.media)

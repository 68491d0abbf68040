"""The two halves of crash reports: the mover that collects them, and AFC over the directory they are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.virtual.services.files import Place, serve_directory

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream


async def serve_mover(stream: Stream, phone: Phone) -> None:
    """com.apple.crashreportmover: reports are written where they belong, so there is nothing to move; says so."""
    await stream.send(b"ping\0")
    await stream.receive(1)


async def serve_files(stream: Stream, phone: Phone) -> None:
    """com.apple.crashreportcopymobile: AFC over the reports."""
    await serve_directory(stream, phone, phone.state.crash_reports, place=Place.REPORTS)

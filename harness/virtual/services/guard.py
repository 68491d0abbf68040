"""Stands before every service: lets it speak unless a fault has made it refuse or hang."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.virtual.phone import Handler, Phone
    from harness.virtual.stream import Stream


def guarded(name: str, handler: Handler) -> Handler:
    """`handler`, for as long as no switch says otherwise. A refused service's connections close at once."""

    async def serve(stream: Stream, phone: Phone) -> None:
        if name in phone.switches.refused_services:
            return
        if name in phone.switches.hanging_services:
            await hang(stream)
            return
        await handler(stream, phone)

    return serve


async def hang(stream: Stream) -> None:
    """Takes whatever the client says and never answers, until the client goes."""
    while await stream.receive():
        pass

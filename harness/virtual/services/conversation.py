"""Property lists over a `Stream`: the form of conversation most lockdown services share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from harness.virtual.stream import StreamClosed
from harness.virtual.wire.plist import Plist, PlistDecoder, encode

if TYPE_CHECKING:
    from harness.virtual.stream import Stream


async def receive_plist(stream: Stream) -> Plist | None:
    """The next dictionary; None when the client hung up between two. Reads no byte beyond it.

    Raises PlistFrameError for what is no frame and StreamClosed when the client goes in the middle of one.
    """
    decoder = PlistDecoder()
    while (message := decoder.next_event()) is None:
        try:
            decoder.receive_data(await stream.receive_exactly(decoder.wants))
        except StreamClosed as error:
            if decoder.at_boundary and not error.partial:
                return None
            raise
    return message


async def until_first(*works: Coroutine[Any, Any, None]) -> None:
    """Runs all of `works` until the first of them is done, ends the others, and raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def read_to_the_end(stream: Stream) -> None:
    """Returns when the client hangs up; what it says until then is not looked at."""
    while await stream.receive():
        pass


async def send_plist(stream: Stream, message: Mapping[str, Any], *, binary: bool = False) -> None:
    """Sends one dictionary."""
    await stream.send(encode(message, binary=binary))

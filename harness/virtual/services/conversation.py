"""Property lists over a `Stream`: the form of conversation most lockdown services share."""

from __future__ import annotations

from collections.abc import Mapping
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


async def send_plist(stream: Stream, message: Mapping[str, Any], *, binary: bool = False) -> None:
    """Sends one dictionary."""
    await stream.send(encode(message, binary=binary))

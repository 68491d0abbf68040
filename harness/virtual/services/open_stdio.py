"""`com.apple.coredevice.openstdiosocket`: sixteen bytes of identifier, then an app's output as raw bytes until its end.

No RemoteXPC is spoken here. The identifier goes into a launch over `app_service`. What the client sends would be the
app's standard input; it is read and thrown away, see `stdio`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from harness.virtual.stdio import StdioSocket, TooManySockets
from harness.virtual.stream import Stream, StreamClosed

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

logger = logging.getLogger(__name__)

SERVICE_NAME = "com.apple.coredevice.openstdiosocket"


async def serve(stream: Stream, phone: Phone) -> None:
    """One socket: returns, which closes it, once its app has ended, or the client goes before there is one."""
    try:
        socket = phone.stdio.open()
    except TooManySockets as error:
        logger.warning("a standard I/O socket was refused: %s", error)
        return
    watcher = asyncio.create_task(_watch(stream, socket))
    try:
        await stream.send(socket.identifier.bytes)
        while data := await socket.next():
            await stream.send(data)
    finally:
        phone.stdio.close(socket)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def _watch(stream: Stream, socket: StdioSocket) -> None:
    """Throws input away. A client that closes its half still gets the output of an app that has begun."""
    with contextlib.suppress(StreamClosed):
        while await stream.receive():
            pass
        if socket.claimed:
            return
    socket.end()

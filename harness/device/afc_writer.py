"""Writes a file over AFC at full speed: one task sends, one listens, and `WritePipeline` decides."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from harness.device import afc
from harness.device.afc import AfcGarbage, AfcRefused
from harness.device.afc_connection import AfcConnection
from harness.device.afc_pipeline import CHUNK_BYTES, WINDOW, Write, WritePipeline

# As much of the source as is in memory at once, beside what the sockets hold.
PIECE_BYTES = 256 * 1024
LAST_WORDS_S = 1.0


class SourceChanged(Exception):
    """The file to be written became shorter meanwhile."""


@dataclass(frozen=True)
class WriteOptions:
    """How a file is written."""

    one_by_one: bool = False
    chunk_bytes: int = CHUNK_BYTES
    window: int = WINDOW
    stall_limit_s: float = 60.0
    """So long nothing may move: neither can anything be sent nor does an answer come."""

    def pipeline(self, begin_bytes: int, end_bytes: int) -> WritePipeline:
        window = 1 if self.one_by_one else self.window
        return WritePipeline(begin_bytes, end_bytes, chunk_bytes=self.chunk_bytes, window=window)


class FileWriter:
    """Writes the open file `source` (a descriptor) to the open file `handle` of the phone, as its pipeline says.

    `progress` gets the acknowledged prefix whenever it grows, `odd` at most once what made it go on one by one.
    """

    def __init__(
        self,
        connection: AfcConnection,
        handle: int,
        source: int,
        *,
        progress: Callable[[int], None],
        odd: Callable[[str], None],
        options: WriteOptions,
    ) -> None:
        self._connection = connection
        self._handle = handle
        self._source = source
        self._progress = progress
        self._odd = odd
        self._options = options
        self._patience = asyncio.timeout(None)
        self._news = asyncio.Event()

    async def write(self, begin_bytes: int, end_bytes: int) -> None:
        """From `begin_bytes`, where the handle stands, to `end_bytes`.

        Raises TimeoutError when nothing moves, AfcRefused, AfcGarbage, ConnectionError, SourceChanged, and OSError of
        the source. After AfcRefused the connection can be used further.
        """
        pipeline = self._options.pipeline(begin_bytes, end_bytes)
        async with asyncio.timeout(None) as self._patience:
            while not pipeline.done:
                self._note_life()
                self._connection.begin()
                await self._flow(pipeline)
                self._connection.end()
                if pipeline.refused_with is not None:
                    raise AfcRefused(pipeline.refused_with)
                if pipeline.oddity is not None:
                    await self._connection.cut(self._handle, pipeline.acknowledged_bytes)
                    pipeline.begin_alone()

    def _note_life(self) -> None:
        self._patience.reschedule(asyncio.get_running_loop().time() + self._options.stall_limit_s)

    async def _flow(self, pipeline: WritePipeline) -> None:
        """Until the pipeline has settled."""
        listener, sender = asyncio.create_task(self._listen(pipeline)), asyncio.create_task(self._send(pipeline))
        try:
            done, _ = await asyncio.wait({listener, sender}, return_when=asyncio.FIRST_EXCEPTION)
            if listener not in done and isinstance(sender.exception(), ConnectionError):
                # answers that came before the connection broke may still be in its buffers
                await asyncio.wait({listener}, timeout=LAST_WORDS_S)
        finally:
            listener.cancel()
            sender.cancel()
            results = await asyncio.gather(listener, sender, return_exceptions=True)
        # the listener's word first: where it knows why, the sender knows only that
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _listen(self, pipeline: WritePipeline) -> None:
        while not pipeline.settled:
            reply = await self._connection.next_reply()
            self._note_life()
            before_bytes, odd_before = pipeline.acknowledged_bytes, pipeline.oddity is not None
            try:
                pipeline.receive_reply(reply)
            except AfcGarbage as garbage:
                if not pipeline.alone:
                    self._odd(str(garbage))
                raise
            if pipeline.oddity is not None and not odd_before:
                self._odd(pipeline.oddity)
            if pipeline.acknowledged_bytes != before_bytes:
                self._progress(pipeline.acknowledged_bytes)
            self._news.set()

    async def _send(self, pipeline: WritePipeline) -> None:
        while not pipeline.all_sent:
            if pipeline.may_send:
                await self._send_write(pipeline.next_write(self._connection.take_number()))
            else:
                self._news.clear()
                await self._news.wait()

    async def _send_write(self, write: Write) -> None:
        """All of it: a write that is cut in the middle would leave the conversation where nobody knows."""
        piece = afc.write_header(write.number, self._handle, write.size_bytes)
        at_bytes = write.offset_bytes
        while at_bytes < write.end_bytes:
            data = os.pread(self._source, min(PIECE_BYTES, write.end_bytes - at_bytes), at_bytes)
            if not data:
                raise SourceChanged(f"it ended at byte {at_bytes} while it was read")
            at_bytes += len(data)
            await self._connection.send(piece + data)
            self._note_life()
            piece = b""

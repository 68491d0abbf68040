"""A RemoteXPC service on one stream: the frames, the opening, replies of calls that run side by side.

Knows no service. Frames of two messages never mix; calls end with the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from harness.virtual.stream import Stream, StreamClosed
from harness.virtual.wire.remote_xpc import (
    Closed,
    MessageReceived,
    Opened,
    RemoteXpcError,
    RemoteXpcEvent,
    RemoteXpcServer,
)
from harness.virtual.wire.xpc import XpcError, XpcObject

logger = logging.getLogger(__name__)

MAXIMUM_RUNNING_CALLS = 32
"""Beyond it the connection is not read until one ends."""

Body = dict[str, XpcObject]
Reply = Callable[[Body], Awaitable[None]]
"""Sends one body as a reply to the call at hand; a call may reply several times (side channels do)."""


class RemoteService:
    """One connection. `greeting` is sent unasked once both streams are open; `answer` handles each call in a task."""

    def __init__(
        self,
        stream: Stream,
        *,
        answer: Callable[[Body, Reply], Awaitable[None]] | None = None,
        greeting: Body | None = None,
        strict_windows: bool = False,
    ) -> None:
        self._stream = stream
        self._peer = RemoteXpcServer(strict_windows=strict_windows)
        self._answer = answer
        self._greeting = greeting
        self._calls: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MAXIMUM_RUNNING_CALLS)
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Until the client goes or breaks the protocol; StreamClosed may escape."""
        try:
            await self._flush()
            while data := await self._stream.receive():
                for event in self._peer.receive_data(data):
                    if isinstance(event, Closed):
                        return
                    await self._take(event)
                await self._flush()
        except RemoteXpcError as error:
            logger.warning("a RemoteXPC client was cut off: %s", error)
            await self._flush()  # the GOAWAY that says why
        finally:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*self._calls, return_exceptions=True)

    async def _take(self, event: RemoteXpcEvent) -> None:
        if isinstance(event, Opened):
            if self._greeting is not None:
                self._peer.send(self._greeting)
        elif isinstance(event, MessageReceived) and self._answer is not None:
            await self._room.acquire()
            call = asyncio.create_task(self._run_call(event, self._answer))
            self._calls.add(call)
            call.add_done_callback(self._on_call_done)

    async def _run_call(self, message: MessageReceived, answer: Callable[[Body, Reply], Awaitable[None]]) -> None:
        async def reply(body: Body) -> None:
            if message.wants_reply:
                self._peer.send(body, reply_to=message.message_id)
                await self._flush()

        with contextlib.suppress(StreamClosed):
            try:
                await answer(message.body, reply)
            except (RemoteXpcError, XpcError) as error:
                logger.warning("an answer could not be sent: %s", error)

    def _on_call_done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._room.release()
        if not call.cancelled() and (error := call.exception()) is not None:
            logger.error("a call failed", exc_info=error)

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._peer.data_to_send():
                await self._stream.send(data)

"""Sockets that stand for an app's standard output: opened first, named by an identifier, claimed by a launch.

Knows processes and no protocol. What is emulated: a pseudoterminal's line ends. Standard input leads nowhere: apps of
this phone read an empty one. What a client does not fetch is bounded; beyond it output is dropped, and a line says so.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.virtual.app_process import ProcessEnded, ProcessOutput

if TYPE_CHECKING:
    from harness.virtual.process import ProcessTable

WAITING_LIMIT_BYTES = 4 * 1024 * 1024
"""Output that waits for a slow client. A phone's terminal would stop the app instead; this one never does."""
HELD_LIMIT_EVENTS = 4096
"""Output of all apps between the start of a launch and its pid."""
OPEN_LIMIT = 64


class TooManySockets(Exception):
    """More standard I/O sockets are open than a phone offers."""


class StdioSocket:
    """One open socket; `next` gives what its app wrote, b"" at the end."""

    def __init__(self) -> None:
        self.identifier = uuid.uuid4()
        self.claimed = False
        self._waiting = bytearray()
        self._dropped_bytes = 0
        self._ended = False
        self._news = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Takes output; drops it while too much waits."""
        if len(self._waiting) + len(data) > WAITING_LIMIT_BYTES:
            self._dropped_bytes += len(data)
            return
        self._tell_of_dropped()
        self._waiting += data
        self._news.set()

    def end(self) -> None:
        """There will be no more."""
        self._tell_of_dropped()
        self._ended = True
        self._news.set()

    async def next(self) -> bytes:
        """What has come, at least one byte; b"" once all of it was given and the app is gone."""
        while not self._waiting:
            if self._ended:
                return b""
            self._news.clear()
            await self._news.wait()
        data = bytes(self._waiting)
        self._waiting.clear()
        return data

    def _tell_of_dropped(self) -> None:
        if self._dropped_bytes:
            self._waiting += f"\r\n[{self._dropped_bytes} bytes dropped: the client was too slow]\r\n".encode()
            self._dropped_bytes = 0


class StdioSockets:
    """All open sockets of one phone."""

    def __init__(self) -> None:
        self._open: dict[uuid.UUID, StdioSocket] = {}

    def open(self) -> StdioSocket:
        """A new socket; raises TooManySockets."""
        if len(self._open) >= OPEN_LIMIT:
            raise TooManySockets(f"{OPEN_LIMIT} standard I/O sockets are open")
        socket = StdioSocket()
        self._open[socket.identifier] = socket
        return socket

    def find(self, identifier: uuid.UUID) -> StdioSocket | None:
        """The socket that bears the name and has no app yet."""
        socket = self._open.get(identifier)
        return None if socket is None or socket.claimed else socket

    def close(self, socket: StdioSocket) -> None:
        """Forgets it."""
        self._open.pop(socket.identifier, None)


class StdioRelay:
    """Carries one app's output to sockets. Made before the launch, so that nothing an app says first is lost.

    `begin` with the pid, or `cancel` when there is none; it ends by itself with the app.
    """

    def __init__(
        self,
        processes: ProcessTable,
        output: Sequence[StdioSocket],
        error: Sequence[StdioSocket],
        *,
        terminal: bool,
    ) -> None:
        self._sockets = {False: output, True: error}
        self._terminal = terminal
        self._pid: int | None = None
        self._held: list[ProcessOutput | ProcessEnded] = []
        self._unsubscribe: Callable[[], None] = processes.subscribe(self._on_event)

    def begin(self, pid: int) -> None:
        """From now on the sockets belong to this app."""
        self._pid = pid
        for socket in self._all():
            socket.claimed = True
        held, self._held = self._held, []
        for event in held:
            self._on_event(event)

    def cancel(self) -> None:
        """The launch failed: the sockets may be used for another."""
        self._unsubscribe()
        self._held.clear()

    def _all(self) -> list[StdioSocket]:
        return [*self._sockets[False], *self._sockets[True]]

    def _on_event(self, event: ProcessOutput | ProcessEnded) -> None:
        if self._pid is None:
            if isinstance(event, ProcessEnded) or len(self._held) < HELD_LIMIT_EVENTS:
                self._held.append(event)
        elif event.pid == self._pid:
            self._pass_on(event)

    def _pass_on(self, event: ProcessOutput | ProcessEnded) -> None:
        if isinstance(event, ProcessEnded):
            self._unsubscribe()
            for socket in self._all():
                socket.end()
            return
        data = event.data.replace(b"\n", b"\r\n") if self._terminal else event.data
        for socket in self._sockets[event.is_error]:
            socket.feed(data)

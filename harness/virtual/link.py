"""The cable between host and phone, when it is slow: bandwidth and latency, emulated.

A relay in a path of its own: it stands between a host's connection and the phone's port only if the link was shaped
(or may become so) when the connection was made, so an unshaped phone pays nothing. All connections share the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harness.virtual.stream import READ_LIMIT_BYTES, SocketStream, StreamClosed

# A piece fits into the socket between relay and phone; on a slow link it takes no longer than PIECE_S.
PIECE_LIMIT_BYTES = 128 * 1024
PIECE_LEAST_BYTES = 4 * 1024
PIECE_S = 0.01
# Pieces that have left and not arrived; with a latency but no bandwidth limit nothing else bounds them (16 MiB).
UNDERWAY_LIMIT = 128
# How far ahead of the link's pace the relay reads, so that a late wake-up of the event loop costs no throughput.
AHEAD_S = 0.02
FLUSH_LIMIT_S = 5.0


@dataclass(frozen=True)
class Shape:
    """`bandwidth_bytes_per_s` in each direction, None for as fast as may be; `latency_s` is added to a round trip."""

    bandwidth_bytes_per_s: int | None = None
    latency_s: float = 0.0


UNSHAPED = Shape()


class Lane:
    """One direction of the link: when does what is sent now get through? Sans-IO; times are seconds of one clock."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def slot(self, now: float, size_bytes: int, bandwidth_bytes_per_s: int | None) -> float:
        """When the last of `size_bytes`, ready at `now`, has left; the lane is taken until then."""
        begin = max(self._free_at, now)
        self._free_at = begin if bandwidth_bytes_per_s is None else begin + size_bytes / bandwidth_bytes_per_s
        return self._free_at


class Link:
    """The link of one phone. `shape` may change at any time; connections made while `in_path` feel it."""

    def __init__(self) -> None:
        self.shape = UNSHAPED
        # how many may want the link shaped later, so that connections made from now on take the relay
        self.reserved = 0
        self._up = Lane()
        self._down = Lane()

    @property
    def in_path(self) -> bool:
        """Whether a connection made now goes through the relay."""
        return self.reserved > 0 or self.shape != UNSHAPED

    @asynccontextmanager
    async def between(self, host: SocketStream, *, tls: bool) -> AsyncIterator[SocketStream]:
        """What the phone's port is to speak on instead of `host`: `host` itself unless the link is shaped.

        `tls`: the first thing to happen is a handshake, whose bytes must not be read before.
        """
        if not self.in_path:
            yield host
            return
        near, far = await _pair(hold_back=tls)
        if tls:
            host.resume_reading()
        up = asyncio.create_task(self._carry_up(host, far))
        down = asyncio.create_task(self._carry(far, host, self._down, is_down=True))
        try:
            yield near
        finally:
            await near.close()
            # what the phone said last is still on its way
            await asyncio.wait([down], timeout=FLUSH_LIMIT_S)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            await far.close()

    async def _carry_up(self, host: SocketStream, far: SocketStream) -> None:
        await self._carry(host, far, self._up, is_down=False)
        await far.close()

    @property
    def _piece_bytes(self) -> int:
        bandwidth = self.shape.bandwidth_bytes_per_s
        if bandwidth is None:
            return PIECE_LIMIT_BYTES
        return min(PIECE_LIMIT_BYTES, max(PIECE_LEAST_BYTES, int(bandwidth * PIECE_S)))

    async def _carry(self, source: SocketStream, target: SocketStream, lane: Lane, *, is_down: bool) -> None:
        underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDERWAY_LIMIT)
        delivery = asyncio.create_task(_deliver(underway, target))
        clock = asyncio.get_running_loop().time
        try:
            while not delivery.done() and (view := await source.receive_view()):
                while view:
                    data, view = bytes(view[: self._piece_bytes]), view[self._piece_bytes :]
                    left_at = lane.slot(clock(), len(data), self.shape.bandwidth_bytes_per_s)
                    # the whole of the round trip's latency lies on the way to the host
                    await underway.put((left_at + (self.shape.latency_s if is_down else 0.0), data))
                    if (ahead := left_at - clock()) > AHEAD_S:
                        await asyncio.sleep(ahead - AHEAD_S / 2)
            await underway.join()
        except StreamClosed:
            pass
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)


async def _deliver(underway: asyncio.Queue[tuple[float, bytes]], target: SocketStream) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, data = await underway.get()
        with contextlib.suppress(StreamClosed):  # the other direction notices, and ends the connection
            if (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
            await target.send(data)
        underway.task_done()


async def _pair(*, hold_back: bool) -> tuple[SocketStream, SocketStream]:
    """Two ends of one connection inside this process: the phone's, and the relay's."""
    near, far = socket.socketpair()
    made: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    made = asyncio.get_running_loop().create_future()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if hold_back:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed one-way; sockets have it
        made.set_result((reader, writer))

    # as a server's connection, since asyncio lets only those be the server's end of TLS
    reader = asyncio.StreamReader(READ_LIMIT_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader, connected)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, near)
    phone_end = SocketStream(*await made)
    return phone_end, SocketStream(*await asyncio.open_connection(sock=far, limit=READ_LIMIT_BYTES))

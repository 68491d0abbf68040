"""Joins the phone's sans-IO TCP to asyncio: packets over one `Stream`, each accepted connection a `Stream` again.

Back-pressure holds in both directions: a service that does not read closes its TCP window, and packets are only
made when the stream beneath can take them. When that stream ends, every connection is reset and every task ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address

from harness.virtual.stream import READ_LIMIT_BYTES, Stream, StreamClosed
from harness.virtual.wire.cdtunnel import CdTunnelServer, Packet
from harness.virtual.wire.tcp import Connected, ConnectionId, Event, PeerClosed, Received, Reset, TcpResponder, Writable

logger = logging.getLogger(__name__)

StreamHandler = Callable[[Stream], Awaitable[None]]
SEND_BATCH_BYTES = 256 * 1024


class TunnelStream:
    """One TCP connection through the tunnel, seen from the phone: a `Stream`."""

    def __init__(self, tunnel: Tunnel, connection: ConnectionId) -> None:
        self._tunnel = tunnel
        self._connection = connection
        self._received = bytearray()  # bounded by TCP's receive window
        self._at_end = False
        self._broken = False
        self._closed = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def receive(self, limit: int = READ_LIMIT_BYTES) -> bytes:
        while not self._received:
            if self._broken or self._closed:
                raise StreamClosed
            if self._at_end:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._received[:limit])
        del self._received[:limit]
        self._tunnel.tcp.consumed(self._connection, len(data))
        self._tunnel.wake()
        return data

    async def receive_exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                data = await self.receive(size - len(parts))
            except StreamClosed as error:
                raise StreamClosed(bytes(parts)) from error
            if not data:
                raise StreamClosed(bytes(parts))
            parts += data
        return bytes(parts)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            if self._broken or self._closed:
                raise StreamClosed
            self._writable.clear()
            taken = self._tunnel.tcp.write(self._connection, bytes(rest[:SEND_BATCH_BYTES]))
            rest = rest[taken:]
            self._tunnel.wake()
            if not rest:
                return
            if taken < min(SEND_BATCH_BYTES, len(rest) + taken):
                await self._writable.wait()

    async def close(self) -> None:
        self._closed = True
        self._received.clear()
        self._tunnel.tcp.close(self._connection)
        self._tunnel.wake()

    def abort(self) -> None:
        """Drops the connection at once (RST)."""
        self._tunnel.tcp.abort(self._connection)
        self.on_reset()
        self._tunnel.wake()

    # --- the tunnel's news

    def on_data(self, data: bytes) -> None:
        self._received += data
        self._readable.set()

    def on_end(self) -> None:
        self._at_end = True
        self._readable.set()

    def on_room(self) -> None:
        self._writable.set()

    def on_reset(self) -> None:
        self._broken = True
        self._readable.set()
        self._writable.set()


class Tunnel:
    """The phone's address inside one tunnel. `listen` first, then `run` until the stream beneath ends.

    A packet of the host's for whose size `takes` says no never arrives.
    """

    def __init__(
        self,
        stream: Stream,
        address: IPv6Address,
        *,
        mtu_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        takes: Callable[[int], bool] = lambda size_bytes: True,
    ) -> None:
        self.tcp = TcpResponder(address, mtu_bytes=mtu_bytes)
        self._stream = stream
        self._clock = clock
        self._handlers: dict[int, StreamHandler] = {}
        self._streams: dict[ConnectionId, TunnelStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()
        self._takes = takes
        self._receiving: asyncio.Task[None] | None = None
        self._dropped = False

    def listen(self, handler: StreamHandler, port: int = 0) -> int:
        """Serves each connection to `port` (0: a free one) by `handler` in a task of its own; returns the port."""
        port = self.tcp.listen(port)
        self._handlers[port] = handler
        return port

    def wake(self) -> None:
        """There may be packets to send."""
        self._wanted.set()

    def drop(self) -> None:
        """Ends the tunnel from the phone's side, at once and without a farewell to its connections."""
        self._dropped = True
        if self._receiving is not None:
            self._receiving.cancel()

    async def run(self, server: CdTunnelServer) -> None:
        """Carries packets until the other end goes, or `drop`; `server` has just accepted."""
        sender = asyncio.create_task(self._send_packets())
        self._receiving = asyncio.create_task(self._receive_packets(server))
        try:
            await self._receiving
        except asyncio.CancelledError:
            if not self._dropped:
                raise
        finally:
            self._receiving.cancel()
            sender.cancel()
            for stream in list(self._streams.values()):
                stream.on_reset()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(sender, self._receiving, *self._tasks, return_exceptions=True)

    async def _receive_packets(self, server: CdTunnelServer) -> None:
        data = b""  # packets that came along with the handshake are already with `server`
        while True:
            for event in server.receive_data(data):
                if isinstance(event, Packet) and self._takes(len(event.data)):
                    self._take(event.data)
            if not (data := await self._stream.receive()):
                return

    def _take(self, packet: bytes) -> None:
        self.tcp.receive_packet(packet, self._clock())
        self._report()
        self._wanted.set()

    async def _send_packets(self) -> None:
        with contextlib.suppress(StreamClosed):  # the receiving half notices too, and ends the tunnel
            while True:
                due = self.tcp.next_timeout()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                        await self._wanted.wait()
                self._wanted.clear()
                now = self._clock()
                self.tcp.on_timeout(now)
                self._report()
                while packets := self.tcp.take_packets(SEND_BATCH_BYTES, self._clock()):
                    await self._stream.send(b"".join(packets))

    def _report(self) -> None:
        for event in self.tcp.take_events():
            if isinstance(event, Connected):
                self._accept(event.connection)
            elif (stream := self._streams.get(event.connection)) is not None:
                self._tell(stream, event)

    @staticmethod
    def _tell(stream: TunnelStream, event: Event) -> None:
        if isinstance(event, Received):
            stream.on_data(event.data)
        elif isinstance(event, PeerClosed):
            stream.on_end()
        elif isinstance(event, Writable):
            stream.on_room()
        elif isinstance(event, Reset):
            stream.on_reset()

    def _accept(self, connection: ConnectionId) -> None:
        stream = self._streams[connection] = TunnelStream(self, connection)
        task = asyncio.create_task(self._serve(connection, stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: ConnectionId, stream: TunnelStream) -> None:
        try:
            await self._handlers[connection.local_port](stream)
        except StreamClosed:
            pass
        except Exception:
            logger.exception("the service on port %d failed", connection.local_port)
        finally:
            await stream.close()
            if self._streams.get(connection) is stream:
                del self._streams[connection]

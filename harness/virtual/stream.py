"""A connection to one port of the phone, as a service sees it: over usbmux, or through the tunnel.

Services know only `Stream`; what carries it (a socket, TLS, TCP inside IPv6 inside the tunnel) is not theirs to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol

READ_LIMIT_BYTES = 256 * 1024
# As much as one `receive_view` gives at most. 256 KiB to 2 MiB were measured alike; 4 MiB, beyond the cache, is slower.
VIEW_LIMIT_BYTES = 1024 * 1024


class StreamClosed(Exception):
    """The other end is gone, or the connection broke; `partial` holds what had come of the asked bytes."""

    def __init__(self, partial: bytes = b"") -> None:
        super().__init__(f"stream closed with {len(partial)} bytes of an unfinished read")
        self.partial = partial


class Stream(Protocol):
    async def receive(self, limit: int = READ_LIMIT_BYTES) -> bytes:
        """Whatever is there, at least one byte and at most `limit`; b"" once the other end has closed."""
        ...

    async def receive_exactly(self, size: int) -> bytes:
        """`size` bytes; raises StreamClosed when the stream ends before."""
        ...

    async def send(self, data: bytes) -> None:
        """Writes all of `data` and waits while the other end is slow; raises StreamClosed."""
        ...

    async def close(self) -> None: ...


class SocketStream:
    """A `Stream` over asyncio's reader and writer that can turn into TLS in place."""

    # asyncio stops reading once its buffer holds more than twice its limit, by up to one read of its own
    _READ_AHEAD_BYTES = 256 * 1024

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._bulk: _BulkReceiver | None = None
        own = writer.get_extra_info("socket")
        self._tcp = own if own is not None and own.family in (socket.AF_INET, socket.AF_INET6) else None

    async def receive(self, limit: int = READ_LIMIT_BYTES) -> bytes:
        self._acknowledge()
        try:
            return await self._reader.read(limit)
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    async def receive_exactly(self, size: int) -> bytes:
        self._acknowledge()
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise StreamClosed(error.partial) from error
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    def _acknowledge(self) -> None:
        """Acknowledges at once what was read, before there is a wait for more.

        A client that sends a message in two writes is held back by Nagle's algorithm until the first is acknowledged,
        which Linux puts off by 40 ms. Over the unix socket of a real usbmuxd there is no such wait.
        """
        if self._tcp is not None:
            with contextlib.suppress(OSError):  # gone already: the read will say so
                self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def receive_view(self) -> memoryview:
        """Whatever is there, without copying it: valid until the next call, empty once the other end has closed.

        The first call turns the stream to this way of reading for good: the other ways find nothing any more.
        """
        if self._bulk is not None:
            return await self._bulk.receive()
        first = await self.receive(2 * READ_LIMIT_BYTES + self._READ_AHEAD_BYTES)
        # no await between the read, which has emptied the reader, and the change of protocol: nothing can be lost
        self._bulk = _BulkReceiver(self._writer.transport, ended=self._reader.at_eof())
        return memoryview(first)

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    def resume_reading(self) -> None:
        """Lets bytes come that were held back for a handshake: it will take place elsewhere."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]  # typed as BaseTransport; sockets have it

    async def start_tls(self, context: ssl.SSLContext, *, before: bytes = b"") -> None:
        """Sends `before` in the clear (the answer that invites the handshake), then serves TLS.

        Reading is paused first, or asyncio could swallow the client's hello into the plain reader.
        """
        plain = self._writer.transport
        plain.pause_reading()  # type: ignore[attr-defined]  # typed as BaseTransport; sockets have it
        if before:
            self._writer.write(before)
        try:
            await self._writer.start_tls(context, ssl_handshake_timeout=10.0)
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error
        except AttributeError as error:
            # asyncio has no transport for a connection that was dropped in mid-handshake, and leaves a writer without
            self._writer._transport = plain  # type: ignore[attr-defined]  # so that it can still be closed
            raise StreamClosed from error

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)

    def abort(self) -> None:
        """Drops the connection at once, as a pulled cable does."""
        self._writer.transport.abort()


class _BulkReceiver(asyncio.BufferedProtocol):
    """Takes the reading half of a connection over from asyncio's StreamReader: the socket is read into one buffer.

    The buffer is filled from its beginning to its end, is handed out piece by piece, and begins anew when all of it
    has been taken. Everything about writing and about the connection's end is passed on to the protocol before.
    """

    def __init__(self, transport: asyncio.WriteTransport, *, ended: bool) -> None:
        # WriteTransport is what a StreamWriter is typed with; a socket's and a TLS connection's both read and write
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # as said above
        self._before = self._transport.get_protocol()
        self._buffer = memoryview(bytearray(VIEW_LIMIT_BYTES))
        self._filled = 0
        self._taken = 0
        self._paused = False
        self._ended = ended
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        if not self._transport.is_closing():
            self._transport.set_protocol(self)

    async def receive(self) -> memoryview:
        """See `SocketStream.receive_view`."""
        if self._taken == self._filled:
            self._taken = self._filled = 0
        while self._taken == self._filled:
            if self._error is not None:
                raise StreamClosed from self._error
            if self._ended:
                return self._buffer[:0]
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._news.clear()
            await self._news.wait()
        view = self._buffer[self._taken : self._filled]
        self._taken = self._filled
        return view

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == len(self._buffer):
            self._paused = True
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool | None:
        self._ended = True
        self._news.set()
        return self._before.eof_received() if isinstance(self._before, asyncio.Protocol) else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        self._news.set()
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()

"""A connection to one port of the phone, as a service sees it: over usbmux, or through the tunnel.

Services know only `Stream`; what carries it (a socket, TLS, TCP inside IPv6 inside the tunnel) is not theirs to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Protocol

READ_LIMIT_BYTES = 256 * 1024


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

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self, limit: int = READ_LIMIT_BYTES) -> bytes:
        try:
            return await self._reader.read(limit)
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    async def receive_exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise StreamClosed(error.partial) from error
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    async def start_tls(self, context: ssl.SSLContext, *, before: bytes = b"") -> None:
        """Sends `before` in the clear (the answer that invites the handshake), then serves TLS.

        Reading is paused first, or asyncio could swallow the client's hello into the plain reader.
        """
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as BaseTransport; sockets have it
        if before:
            self._writer.write(before)
        try:
            await self._writer.start_tls(context, ssl_handshake_timeout=10.0)
        except (OSError, ssl.SSLError) as error:
            raise StreamClosed from error

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)

    def abort(self) -> None:
        """Drops the connection at once, as a pulled cable does."""
        self._writer.transport.abort()

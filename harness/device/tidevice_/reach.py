"""How a phone is reached: work on it in a thread, or a service of it as a channel of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from harness.device import limits
from harness.device.tidevice_.phone import TidevicePhone, context_of
from harness.device.tidevice_.threads import in_thread

RECEIVE_BYTES = 256 * 1024

_Value = TypeVar("_Value")


class Reach:
    """Of one phone. Sets no limits in time: who calls does where it awaits."""

    def __init__(self, udid: str, pair_record: Mapping[str, Any], usbmux_address: str | None) -> None:
        self.udid = udid
        self._pair_record = pair_record
        self._usbmux_address = usbmux_address
        self._context = context_of(pair_record)

    def phone(self) -> TidevicePhone:
        """Not connected yet; the caller's to close."""
        return TidevicePhone(self.udid, self._usbmux_address, self._pair_record, self._context)

    async def do(self, work: Callable[[TidevicePhone], _Value]) -> _Value:
        """The value of `work`, which gets a phone whose connections are closed afterwards."""
        phone = self.phone()
        try:
            return await in_thread(lambda: work(phone), phone.close)
        finally:
            phone.close()

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port on which an app listens."""
        return await self._streams(lambda phone: (port, False))

    async def service(self, name: str) -> StreamChannel:
        """A service of lockdown, encrypted where the phone asks for it."""
        return StreamChannel(*await self._streams(lambda phone: phone.locate_service(name)))

    async def _streams(
        self, find: Callable[[TidevicePhone], tuple[int, bool]]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Streams to the port that `find` finds; the loop does what comes after the connect, TLS included."""
        phone = self.phone()

        def connect() -> tuple[Any, bool]:
            port, encrypted = find(phone)
            return phone.connect_port(port), encrypted

        try:
            connection, encrypted = await in_thread(connect, phone.close)
            sock = connection.psock.take()
        finally:
            phone.close()
        try:
            if encrypted:
                return await asyncio.open_connection(sock=sock, ssl=self._context, server_hostname="")
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise


class StreamChannel:
    """`Channel` (harness.device.afc_connection) over asyncio's streams; property lists besides."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise ConnectionResetError("the connection broke") from error

    async def receive(self) -> bytes:
        try:
            return await self._reader.read(RECEIVE_BYTES)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionResetError("the connection broke") from error

    async def receive_exactly(self, size: int) -> bytes:
        """Raises ConnectionError when the other end closes before that."""
        try:
            return await self._reader.readexactly(size)
        except (OSError, EOFError) as error:
            raise ConnectionResetError("the connection broke") from error

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(limits.HANG_UP_LIMIT_S):
                await self._writer.wait_closed()

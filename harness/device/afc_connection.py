"""Speaks AFC over a connection that a client library has opened, one request after the other.

Knows no client library, and waits without a limit: who calls sets one where it awaits.
"""

from __future__ import annotations

from typing import Protocol

from harness.device import afc
from harness.device.afc import AfcGarbage, AfcRefused, OpenMode, Operation, Reply, ReplyDecoder, Status


class Channel(Protocol):
    """Bytes to and from the phone. Raises ConnectionError when the other end is gone."""

    async def send(self, data: bytes) -> None:
        """Takes all of it, and returns when there is room for more."""
        ...

    async def receive(self) -> bytes:
        """At least one byte; b"" once the other end has closed."""
        ...

    async def close(self) -> None:
        """Also when it is broken already; raises nothing."""
        ...


class AfcConnection:
    """One conversation.

    A request that is given up on (cancelled, timed out, broken off) leaves the conversation where nobody knows, so
    whatever is asked after that raises ConnectionError.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._decoder = ReplyDecoder()
        self._number = 0
        self._busy = False

    async def close(self) -> None:
        await self._channel.close()

    async def ask(self, operation: Operation, parameters: bytes = b"") -> Reply:
        """The answer to a request. Raises AfcRefused, AfcGarbage, ConnectionError."""
        number = self.take_number()
        return await self._ask(number, afc.request(number, operation, parameters))

    async def _ask(self, number: int, packet: bytes) -> Reply:
        self.begin()
        await self.send(packet)
        reply = await self.next_reply()
        if reply.number != number:
            raise AfcGarbage(f"the answer to request {number} bears the number {reply.number}")
        status = reply.status
        self.end()
        if status != Status.SUCCESS:
            raise AfcRefused(status)
        return reply

    async def ask_data(self, operation: Operation, parameters: bytes = b"") -> bytes:
        """As `ask`, of what is answered with data."""
        reply = await self.ask(operation, parameters)
        if reply.operation != Operation.DATA:
            raise AfcGarbage(f"operation {operation} was answered by operation {reply.operation} instead of data")
        return reply.body

    async def open(self, mode: OpenMode, path: str) -> int:
        """A handle."""
        return afc.read_handle(await self.ask(Operation.OPEN, afc.open_parameters(mode, path)))

    async def close_handle(self, handle: int) -> None:
        await self.ask(Operation.CLOSE, afc.handle_parameters(handle))

    async def seek(self, handle: int, offset_bytes: int) -> None:
        """Reads and writes go on from there."""
        await self.ask(Operation.SEEK, afc.seek_parameters(handle, offset_bytes))

    async def cut(self, handle: int, size_bytes: int) -> None:
        """Makes the open file that long, and writes go on from there."""
        await self.ask(Operation.SET_SIZE, afc.handle_parameters(handle, size_bytes))
        await self.seek(handle, size_bytes)

    async def read(self, handle: int, max_bytes: int) -> bytes:
        """At most so many bytes, none at the file's end."""
        data = await self.ask_data(Operation.READ, afc.handle_parameters(handle, max_bytes))
        if len(data) > max_bytes:
            raise AfcGarbage(f"{len(data)} bytes came where {max_bytes} were asked for")
        return data

    async def write(self, handle: int, data: bytes) -> None:
        """A little; `FileWriter` is for files."""
        number = self.take_number()
        await self._ask(number, afc.write_header(number, handle, len(data)) + data)

    # -- the pieces of a request, for who has several under way

    @property
    def usable(self) -> bool:
        """Whether something may be asked: nothing is under way, and nothing was given up on."""
        return not self._busy

    def begin(self) -> None:
        """Raises ConnectionError when something is under way or was given up on."""
        if self._busy:
            raise ConnectionError("a request before was given up on")
        self._busy = True

    def end(self) -> None:
        """Every answer has come."""
        self._busy = False

    def take_number(self) -> int:
        self._number += 1
        return self._number

    async def send(self, data: bytes) -> None:
        await self._channel.send(data)

    async def next_reply(self) -> Reply:
        """Raises AfcGarbage, ConnectionError."""
        while (reply := self._decoder.next_reply()) is None:
            data = await self._channel.receive()
            if not data:
                raise ConnectionError("the phone hung up")
            self._decoder.receive_data(data)
        return reply

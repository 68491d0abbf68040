"""Reading without copies: the same bytes in the same order, however the reader lags and the sender ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest

from harness.virtual.stream import VIEW_LIMIT_BYTES, SocketStream, StreamClosed

pytestmark = pytest.mark.anyio


async def connect() -> tuple[SocketStream, SocketStream]:
    streams = [SocketStream(*await asyncio.open_connection(sock=end)) for end in socket.socketpair()]
    return streams[0], streams[1]


async def read_all(stream: SocketStream) -> bytes:
    parts = []
    while view := await stream.receive_view():
        assert len(view) <= VIEW_LIMIT_BYTES
        parts.append(bytes(view))
        await asyncio.sleep(0)  # lets the sender run ahead, so that views are refilled behind the reader's back
    return b"".join(parts)


async def send_on(stream: SocketStream) -> None:
    while True:
        await stream.send(bytes(1_000_000))


@pytest.mark.parametrize("size", [1, VIEW_LIMIT_BYTES, 5 * VIEW_LIMIT_BYTES + 7])
async def test_every_byte_comes_once_and_in_order(size: int) -> None:
    sender, receiver = await connect()
    content = os.urandom(size)

    async def send() -> None:
        await sender.send(content)
        await sender.close()

    sending = asyncio.create_task(send())
    assert await read_all(receiver) == content
    assert not await receiver.receive_view(), "the end stays the end"
    await sending
    await receiver.close()


async def test_what_was_sent_before_the_first_view_is_not_lost() -> None:
    sender, receiver = await connect()
    await sender.send(b"a request, and then")
    assert await receiver.receive_exactly(9) == b"a request"
    await sender.send(b" the rest")
    await sender.close()
    assert await read_all(receiver) == b", and then the rest"
    await receiver.close()


async def test_a_broken_connection_ends_the_reading_and_the_writing() -> None:
    sender, receiver = await connect()
    await sender.send(b"x")
    assert bytes(await receiver.receive_view()) == b"x"
    sender.abort()
    async with asyncio.timeout(10):
        with contextlib.suppress(StreamClosed):
            assert not await receiver.receive_view()
        with pytest.raises(StreamClosed):
            await send_on(receiver)
    await receiver.close()

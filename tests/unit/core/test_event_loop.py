"""asyncio's end told twice: kept out of the loop's errors, and nothing else is."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from harness.core.event_loop import forgive_second_close

pytestmark = pytest.mark.anyio

ENOUGH_TO_PAUSE = 8 << 20


class _ClosesWhenDrained(asyncio.Protocol):
    """What TLS does when a write from within `resume_writing` meets a reset connection."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def pause_writing(self) -> None:
        self.transport.set_write_buffer_limits(0)

    def resume_writing(self) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


async def drained_and_closed() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    protocol = _ClosesWhenDrained()
    with far:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, near)
        transport.write(bytes(ENOUGH_TO_PAUSE))
        while not protocol.lost.done():
            await loop.sock_recv(far, 1 << 20)
        await asyncio.sleep(0)


async def listen() -> list[str]:
    heard: list[str] = []

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        heard.append(repr(context.get("exception")))

    asyncio.get_running_loop().set_exception_handler(note)
    return heard


async def test_an_end_told_twice_is_heard_once() -> None:
    heard = await listen()
    forgive_second_close()
    forgive_second_close()
    await drained_and_closed()
    assert heard == []


async def test_every_other_error_is_heard() -> None:
    heard = await listen()
    forgive_second_close()
    loop = asyncio.get_running_loop()

    def of_ours() -> None:
        raise AttributeError("'NoneType' object has no attribute 'close'", name="close", obj=None)

    loop.call_soon(of_ours)
    loop.call_soon(lambda: 1 / 0)
    loop.call_exception_handler({"message": "handed over", "exception": AttributeError("never raised")})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heard == [
        repr(AttributeError("never raised")),
        repr(AttributeError("'NoneType' object has no attribute 'close'")),
        repr(ZeroDivisionError("division by zero")),
    ]

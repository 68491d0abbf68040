"""A TCP client that writes a message in two parts is not kept waiting by delayed acknowledgements."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from harness.virtual.stream import SocketStream

pytestmark = pytest.mark.anyio


class Socket:
    """Keeps what was set on it."""

    def __init__(self, family: int) -> None:
        self.family = family
        self.options: list[tuple[int, int, int]] = []

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.append((level, option, value))


class Writer:
    def __init__(self, own: Socket) -> None:
        self._own = own

    def get_extra_info(self, name: str) -> Socket:
        assert name == "socket"
        return self._own


@pytest.mark.parametrize(("family", "times"), [(socket.AF_INET, 2), (socket.AF_INET6, 2), (socket.AF_UNIX, 0)])
async def test_what_was_read_is_acknowledged_before_each_wait(family: int, times: int) -> None:
    own, reader = Socket(family), asyncio.StreamReader()
    writer: Any = Writer(own)
    stream = SocketStream(reader, writer)
    reader.feed_data(b"headbody")
    assert await stream.receive_exactly(4) == b"head"
    assert await stream.receive() == b"body"
    assert own.options == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * times

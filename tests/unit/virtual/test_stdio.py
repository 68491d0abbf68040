"""Standard I/O sockets without a wire: nothing an app says first is lost, nobody fills memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from harness.virtual.app_process import ProcessEnded, ProcessOutput
from harness.virtual.stdio import OPEN_LIMIT, WAITING_LIMIT_BYTES, StdioRelay, StdioSockets, TooManySockets

pytestmark = pytest.mark.anyio

LIMIT_S = 10.0
Event = ProcessOutput | ProcessEnded


class Processes:
    def __init__(self) -> None:
        self.callbacks: list[Callable[[Event], None]] = []

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def publish(self, *events: Event) -> None:
        for event in events:
            for callback in list(self.callbacks):
                callback(event)


def said(pid: int, data: bytes, *, is_error: bool = False) -> ProcessOutput:
    return ProcessOutput(pid, data.decode("utf-8", "replace"), data, is_error)


async def test_what_is_said_before_the_pid_is_known_arrives_and_only_that_of_the_app() -> None:
    processes: Any = Processes()
    sockets = StdioSockets()
    socket = sockets.open()
    relay = StdioRelay(processes, [socket], [], terminal=True)
    processes.publish(
        said(8, b"another"), said(7, b"one\n"), said(7, b"error", is_error=True), ProcessEnded(8, 0, None)
    )
    relay.begin(7)
    processes.publish(said(7, b"\xff"), ProcessEnded(7, 0, None))
    async with asyncio.timeout(LIMIT_S):
        assert await socket.next() == b"one\r\n\xff"
        assert await socket.next() == b""
    assert processes.callbacks == []


async def test_an_app_that_ends_before_its_pid_is_known_ends_its_socket() -> None:
    processes: Any = Processes()
    socket = StdioSockets().open()
    relay = StdioRelay(processes, [], [socket], terminal=False)
    processes.publish(said(7, b"a\n"), said(7, b"b\n", is_error=True), ProcessEnded(7, None, 6))
    relay.begin(7)
    async with asyncio.timeout(LIMIT_S):
        assert await socket.next() == b"b\n"  # a pipe's line ends, and only the error output
        assert await socket.next() == b""


async def test_a_socket_is_claimed_once_and_free_again_when_the_launch_failed() -> None:
    processes: Any = Processes()
    sockets = StdioSockets()
    socket = sockets.open()
    StdioRelay(processes, [socket], [socket], terminal=True).cancel()
    assert processes.callbacks == []
    assert sockets.find(socket.identifier) is socket
    StdioRelay(processes, [socket], [socket], terminal=True).begin(7)
    assert sockets.find(socket.identifier) is None
    sockets.close(socket)


async def test_a_client_that_does_not_fetch_loses_output_and_is_told() -> None:
    socket = StdioSockets().open()
    socket.feed(bytes(WAITING_LIMIT_BYTES))
    socket.feed(b"lost")
    async with asyncio.timeout(LIMIT_S):
        assert len(await socket.next()) == WAITING_LIMIT_BYTES
        socket.feed(b"kept")
        assert b"[4 bytes dropped" in (text := await socket.next())
        assert text.endswith(b"kept")


async def test_there_are_only_so_many() -> None:
    sockets = StdioSockets()
    opened = [sockets.open() for _ in range(OPEN_LIMIT)]
    with pytest.raises(TooManySockets):
        sockets.open()
    sockets.close(opened[0])
    sockets.open()

"""The heartbeat over a stream in memory, with a short interval."""

from __future__ import annotations

import asyncio
import plistlib
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.virtual.services import heartbeat
from harness.virtual.stream import StreamClosed
from harness.virtual.wire.plist import encode

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

pytestmark = pytest.mark.anyio


class Client:
    """A client that answers the first `polos` calls and then stays silent, or leaves when told to."""

    def __init__(self, polos: int, *, leaves: bool = False) -> None:
        self.heard: list[dict[str, Any]] = []
        self._polos = polos
        self._leaves = leaves
        self._said = bytearray()
        self._something = asyncio.Event()

    async def send(self, data: bytes) -> None:
        self.heard.append(plistlib.loads(data[4:]))
        if len(self.heard) <= self._polos:
            self._said += encode({"Command": "Polo"})
            self._something.set()

    async def receive(self, limit: int = 1) -> bytes:
        while not self._said:
            if self._leaves and len(self.heard) > self._polos - 1:
                return b""
            self._something.clear()
            await self._something.wait()
        taken = bytes(self._said[:limit])
        del self._said[:limit]
        return taken

    async def receive_exactly(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            piece = await self.receive(size - len(taken))
            if not piece:
                raise StreamClosed(taken)
            taken += piece
        return taken

    async def close(self) -> None: ...


async def converse(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.001)
    monkeypatch.setattr(heartbeat, "PATIENCE_S", 0.001)
    async with asyncio.timeout(30):
        await heartbeat.serve(client, cast("Phone", None))
    return [message["Command"] for message in client.heard]


async def test_who_answers_is_called_again_and_who_does_not_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await converse(Client(3), monkeypatch) == ["Marco"] * 4 + ["SleepyTime"]


async def test_who_leaves_between_two_calls_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await converse(Client(2, leaves=True), monkeypatch) == ["Marco"] * 2

"""What ends with a DTX connection: every instrument of every channel, however the connection itself ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from harness.virtual.phone import Phone
from harness.virtual.services import dtservicehub
from harness.virtual.services.instrument import Channel, Selector, archive_argument
from harness.virtual.stream import Stream
from harness.virtual.wire.dtx import DtxMessage, MessageType, encode_message
from harness.virtual.wire.keyed_archive import archive

pytestmark = pytest.mark.anyio
NAMES = ("slow to close", "quick to close")


class _Instrument:
    closing: asyncio.Event
    closed: list[str]

    def __init__(self, name: str) -> None:
        self.selectors: Mapping[str, Selector] = {}
        self._name = name

    async def close(self) -> None:
        self.closed.append(self._name)
        self.closing.set()
        if self._name == NAMES[0]:
            await asyncio.Event().wait()


class _Stream:
    """Two requests for channels, then silence."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self._requests = [
            encode_message(
                DtxMessage(
                    kind=MessageType.DISPATCH,
                    identifier=code,
                    channel=0,
                    conversation=0,
                    expects_reply=False,
                    arguments=(archive_argument(code), archive_argument(name)),
                    payload=archive("_requestChannelWithCode:identifier:"),
                )
            )
            for code, name in enumerate(NAMES, start=1)
        ]

    async def receive(self) -> bytes:
        if self._requests:
            return self._requests.pop(0)
        self.waiting.set()
        await asyncio.Event().wait()
        return b""

    async def send(self, data: bytes) -> None:
        pass


async def test_a_connection_cut_off_twice_closes_every_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    _Instrument.closing, _Instrument.closed = asyncio.Event(), []

    def maker(name: str) -> Any:
        def make(_channel: Channel, _phone: Phone) -> _Instrument:
            return _Instrument(name)

        return make

    monkeypatch.setattr(dtservicehub, "INSTRUMENTS", {name: maker(name) for name in NAMES})
    stream = _Stream()
    serving = asyncio.create_task(dtservicehub.serve(cast(Stream, stream), cast(Phone, None)))
    await stream.waiting.wait()
    for _ in NAMES:
        serving.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    # whichever of the two hangs, the other one has been told
    await asyncio.wait_for(_Instrument.closing.wait(), 10)
    for _ in range(3):
        serving.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert set(_Instrument.closed) == set(NAMES)

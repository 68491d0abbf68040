"""The join of TCP and asyncio: streams end as they should, nobody fills memory, nothing is left running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

import pytest

from harness.virtual.stream import READ_LIMIT_BYTES, Stream, StreamClosed
from harness.virtual.tunnel import SEND_BATCH_BYTES, Tunnel
from harness.virtual.wire.cdtunnel import CdTunnelServer, build_frame
from harness.virtual.wire.tcp_connection import SEND_BUFFER_BYTES
from harness.virtual.wire.tcp_segment import ACK, FIN, PSH, RST, SYN, Segment, build_packet, parse_packet

pytestmark = pytest.mark.anyio

PHONE, HOST = IPv6Address("fd00::1"), IPv6Address("fd00::2")
LIMIT_S = 20.0


class Cable:
    """The stream beneath a tunnel: packets are put in and taken out; `open` lets it take what is sent."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Segment] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()
        self.sent_bytes = 0

    async def receive(self, limit: int = READ_LIMIT_BYTES) -> bytes:
        return await self.incoming.get()

    async def receive_exactly(self, size: int) -> bytes:
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        await self.open.wait()
        self.sent_bytes += len(data)
        while data:
            size = 40 + int.from_bytes(data[4:6], "big")
            segment = parse_packet(data[:size])
            assert segment is not None
            self.outgoing.put_nowait(segment)
            data = data[size:]

    async def close(self) -> None:
        return None


class Bench:
    """A running tunnel with one connection to `handler` in the making."""

    def __init__(self, handler: object, takes: Callable[[int], bool] = lambda size_bytes: True) -> None:
        self.cable = Cable()
        self.tunnel = Tunnel(self.cable, PHONE, mtu_bytes=16_000, takes=takes)
        self.port = self.tunnel.listen(handler)  # type: ignore[arg-type]  # a test's plain function
        self.phone_next = 0
        server = CdTunnelServer()
        server.receive_data(build_frame({"type": "clientHandshakeRequest", "mtu": 16_000}))
        server.accept(server=PHONE, client=HOST, rsd_port=1, mtu_bytes=16_000)
        self.running = asyncio.create_task(self.tunnel.run(server))

    def put(self, flags: int, sequence: int, payload: bytes = b"", *, window: int = 0xFFFF) -> None:
        segment = Segment(
            source=HOST.packed,
            destination=PHONE.packed,
            source_port=7,
            destination_port=self.port,
            sequence=sequence,
            acknowledgement=self.phone_next,
            flags=flags,
            window=window,
            payload=payload,
        )
        self.cable.incoming.put_nowait(build_packet(segment))

    async def take(self) -> Segment:
        segment = await self.cable.outgoing.get()
        if segment.flags & SYN:
            self.phone_next = (segment.sequence + 1) % (1 << 32)
        elif segment.sequence == self.phone_next:
            self.phone_next = (segment.sequence + segment.length) % (1 << 32)
        return segment

    async def take_until(self, flag: int) -> Segment:
        while not (segment := await self.take()).flags & flag:
            pass
        return segment

    async def connect(self) -> None:
        self.put(SYN, 100)
        await self.take_until(SYN)
        self.put(ACK, 101)

    async def unplug(self) -> None:
        self.cable.incoming.put_nowait(b"")
        await self.running


async def test_bytes_and_ends_pass_both_ways() -> None:
    heard: list[bytes] = []

    async def serve(stream: Stream) -> None:
        heard.append(await stream.receive_exactly(6))
        await stream.send(b"answer")
        heard.append(await stream.receive())
        await stream.close()

    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        await bench.connect()
        bench.put(ACK | PSH, 101, b"ask")
        bench.put(ACK | PSH, 104, b"ing")
        assert (await bench.take_until(PSH)).payload == b"answer"
        bench.put(ACK | FIN, 107)
        await bench.take_until(FIN)
        await bench.unplug()
    assert heard == [b"asking", b""]


@pytest.mark.parametrize("waits_for_bytes", [True, False])
async def test_nothing_runs_on_once_the_cable_is_pulled(waits_for_bytes: bool) -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def serve(stream: Stream) -> None:
        started.set()
        try:
            await (stream.receive_exactly(10) if waits_for_bytes else asyncio.Event().wait())
        finally:
            ended.set()

    before = asyncio.all_tasks()
    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        await bench.connect()
        await started.wait()
        await bench.unplug()
    assert ended.is_set()
    assert asyncio.all_tasks() == before


async def test_a_reset_reaches_the_service_with_what_it_had_read() -> None:
    partial: list[bytes] = []
    done = asyncio.Event()

    async def serve(stream: Stream) -> None:
        try:
            await stream.receive_exactly(10)
        except StreamClosed as closed:
            partial.append(closed.partial)
            done.set()

    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        await bench.connect()
        bench.put(ACK | PSH, 101, b"abc")
        bench.put(RST, 104)
        await done.wait()
        await bench.unplug()
    assert partial == [b"abc"]


async def test_a_service_cannot_outrun_a_cable_that_stands_still() -> None:
    sent = 0
    full = asyncio.Event()

    async def serve(stream: Stream) -> None:
        nonlocal sent
        while True:
            await stream.send(bytes(SEND_BATCH_BYTES))
            sent += SEND_BATCH_BYTES
            if sent >= SEND_BUFFER_BYTES - SEND_BATCH_BYTES:
                full.set()

    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        await bench.connect()
        bench.cable.open.clear()
        await full.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent <= SEND_BUFFER_BYTES
        assert bench.cable.sent_bytes < 2 * SEND_BATCH_BYTES
        await bench.unplug()


async def test_a_service_that_fails_costs_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(stream: Stream) -> None:
        raise ValueError("a fault")

    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        await bench.connect()
        await bench.take_until(FIN)
        await bench.unplug()
    assert "a fault" in caplog.text


async def test_packets_that_are_not_taken_never_arrive_and_may_come_again() -> None:
    heard: list[bytes] = []
    lossy = True

    async def serve(stream: Stream) -> None:
        while data := await stream.receive():
            heard.append(data)

    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve, takes=lambda size_bytes: size_bytes <= 8192 or not lossy)
        await bench.connect()
        bench.put(ACK | PSH, 101, b"small")
        await bench.take_until(ACK)
        bench.put(ACK | PSH, 106, bytes(9000))
        bench.put(ACK | PSH, 106, b"!")
        assert (await bench.take_until(ACK)).acknowledgement == 107
        lossy = False
        bench.put(ACK | PSH, 107, bytes(9000))
        assert (await bench.take_until(ACK)).acknowledgement == 9107
        await bench.unplug()
    assert b"".join(heard) == b"small!" + bytes(9000)


async def test_a_dropped_tunnel_ends_its_connections_and_its_own_run() -> None:
    ended = asyncio.Event()

    async def serve(stream: Stream) -> None:
        try:
            await stream.receive()
        finally:
            ended.set()

    before = asyncio.all_tasks()
    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        await bench.connect()
        bench.put(ACK | PSH, 101, b"x")
        await bench.take_until(ACK)
        bench.tunnel.drop()
        await bench.running
    assert asyncio.all_tasks() == before


async def test_a_service_that_waits_for_room_is_not_run_until_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    size = SEND_BUFFER_BYTES + SEND_BATCH_BYTES
    writes = 0
    done = asyncio.Event()

    async def serve(stream: Stream) -> None:
        await stream.send(bytes(size))
        done.set()

    async with asyncio.timeout(LIMIT_S):
        bench = Bench(serve)
        write = bench.tunnel.tcp.write

        def counted(*arguments: Any) -> int:
            nonlocal writes
            writes += 1
            return write(*arguments)

        monkeypatch.setattr(bench.tunnel.tcp, "write", counted)
        bench.put(SYN, 100, window=0)
        await bench.take_until(SYN)
        bench.put(ACK, 101, window=0)
        while writes < SEND_BUFFER_BYTES // SEND_BATCH_BYTES + 1:  # noqa: ASYNC110  # the loop is the thing tested
            await asyncio.sleep(0)
        filled = writes
        for _ in range(200):
            await asyncio.sleep(0)
        assert writes == filled  # the window is shut: nothing to try again for
        assert not done.is_set()
        received = 0
        while not done.is_set():
            bench.put(ACK, 101, window=0xFFFF)
            received += len((await bench.take()).payload)
        await bench.unplug()
    assert 0 < received <= size

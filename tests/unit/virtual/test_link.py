"""The cable's two lanes, and the relay that stands in the path when the cable is slow."""

from __future__ import annotations

import asyncio
import socket

import pytest

from harness.virtual.link import Lane, Link, Shape
from harness.virtual.stream import SocketStream

MEGABYTE = 1_000_000


def test_a_lane_is_taken_for_as_long_as_the_bytes_need() -> None:
    lane = Lane()
    assert lane.slot(10.0, 500_000, MEGABYTE) == pytest.approx(10.5)
    assert lane.slot(10.1, 500_000, MEGABYTE) == pytest.approx(11.0), "behind what was sent before"
    assert lane.slot(20.0, 500_000, MEGABYTE) == pytest.approx(20.5), "a pause gives no credit"


def test_a_lane_without_a_limit_takes_no_time() -> None:
    lane = Lane()
    assert lane.slot(10.0, 10**12, None) == 10.0


async def connect() -> tuple[SocketStream, SocketStream]:
    streams = [SocketStream(*await asyncio.open_connection(sock=end)) for end in socket.socketpair()]
    return streams[0], streams[1]


def hold_back(stream: SocketStream) -> None:
    """As usbmuxd does before it answers the Connect to a port that begins with a handshake."""
    stream._writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as BaseTransport; sockets have it


@pytest.mark.anyio
async def test_an_unshaped_link_is_not_in_the_path() -> None:
    host, phone = await connect()
    async with Link().between(phone, tls=False) as stream:
        assert stream is phone
    await host.close()
    await phone.close()


@pytest.mark.anyio
@pytest.mark.parametrize("shape", [Shape(latency_s=0.01), Shape(20 * MEGABYTE), Shape()])
async def test_a_shaped_link_changes_no_byte_and_leaves_nothing_behind(shape: Shape) -> None:
    tasks = len(asyncio.all_tasks())
    link = Link()
    link.reserved = 1
    link.shape = shape
    host, phone = await connect()
    question, answer = bytes(range(256)) * 2000, b"answer" * 50_000

    async def serve() -> bytes:
        async with link.between(phone, tls=False) as stream:
            assert stream is not phone
            asked = await stream.receive_exactly(len(question))
            await stream.send(answer)
        await phone.close()
        return asked

    serving = asyncio.create_task(serve())
    await host.send(question)
    assert await host.receive_exactly(len(answer)) == answer
    assert await host.receive() == b"", "the phone has hung up"
    assert await serving == question
    await host.close()
    assert len(asyncio.all_tasks()) == tasks


@pytest.mark.anyio
async def test_what_the_host_says_first_is_held_back_for_a_handshake() -> None:
    link = Link()
    link.reserved = 1
    host, phone = await connect()
    hold_back(phone)
    async with link.between(phone, tls=True) as stream:
        await host.send(b"hello of a handshake")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stream.receive()
        stream.resume_reading()
        assert await stream.receive() == b"hello of a handshake"
    await host.close()
    await phone.close()


@pytest.mark.anyio
async def test_a_host_that_goes_is_noticed_through_the_relay() -> None:
    link = Link()
    link.shape = Shape(MEGABYTE)
    host, phone = await connect()
    async with link.between(phone, tls=False) as stream:
        host.abort()
        async with asyncio.timeout(10):
            assert await stream.receive() == b""
    await phone.close()

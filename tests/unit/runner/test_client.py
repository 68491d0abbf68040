"""The host's client against a peer that means it badly: every wait ends, and what is said of the end is right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import pytest

from harness.core.job import Backend, CacheState, Engine, Job
from harness.runner import client as client_module
from harness.runner.client import Limits, RunnerClient, RunnerGone, RunnerSilent

pytestmark = pytest.mark.anyio

JOB = Job("models/x.task", "0" * 64, Engine.LITERT_LM, Backend.CPU, CacheState.NONE, 8, "x", 1, 100, 0, 1)
HELLO: dict[str, object] = {
    "ev": "hello", "app_version": "1", "build": "b", "engines": {}, "hw_machine": "x", "os_build": "y",
    "ram_bytes": 1, "pid": 1, "page_size": 4096, "sample_columns": ["footprint"],
}  # fmt: skip  # one field a line says no more

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def line(seq: int, **event: object) -> bytes:
    return json.dumps({"v": 1, "seq": seq, "t": seq, **event}).encode() + b"\n"


@asynccontextmanager
async def served(peer: Peer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to `peer`; at the end every socket of either side is closed."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await peer(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await done.wait()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def talking_to(peer: Peer) -> AsyncIterator[RunnerClient]:
    async with served(peer) as connection:
        yield RunnerClient(*connection)


def endlessly(*events: Mapping[str, object]) -> Peer:
    """A peer that first answers, then says the last event again and again."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        seq = 0
        while True:
            seq += 1
            writer.write(line(seq, **events[min(seq, len(events)) - 1]))
            await writer.drain()
            await asyncio.sleep(0.001)

    return peer


@pytest.mark.parametrize("filler", [{"ev": "heartbeat"}, {"ev": "pong", "host_t": 1}, {"ev": "news"}])
async def test_events_that_are_no_hello_do_not_push_out_its_limit(
    monkeypatch: pytest.MonkeyPatch, filler: dict[str, object]
) -> None:
    monkeypatch.setattr(client_module, "HELLO_LIMIT_S", 0.2)
    async with talking_to(endlessly(filler)) as runner:
        with pytest.raises(RunnerSilent):
            await runner.hello()


async def test_empty_lines_are_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "HELLO_LIMIT_S", 0.2)

    async def peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"\n")
            await writer.drain()
            await asyncio.sleep(0.001)

    async with talking_to(peer) as runner:
        with pytest.raises(RunnerSilent):
            await runner.hello()


@pytest.mark.parametrize(
    "filler", [{"ev": "heartbeat"}, {"ev": "sample", "d": [1]}, {"ev": "log", "line": "x"}, {"ev": "news"}]
)
async def test_signs_of_life_are_no_progress(filler: dict[str, object]) -> None:
    async with talking_to(endlessly(filler)) as runner:
        with pytest.raises(RunnerSilent):
            async for _ in runner.run("t", JOB, Limits(progress_s=0.2)):
                pass


async def test_an_error_that_ends_no_trial_does_not_end_ours() -> None:
    other = {"ev": "error", "kind": "bad_json", "message": "x", "trial": None}
    ours = {"ev": "error", "kind": "load_error", "message": "x", "trial": "t"}
    async with talking_to(endlessly(other, other, ours)) as runner:
        kinds = [event.seq async for event in runner.run("t", JOB, Limits(progress_s=5))]
    assert kinds == [1, 2, 3]


async def test_a_run_that_was_not_delivered_is_sent_again() -> None:
    heard: list[str] = []

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes no notice of the run and goes away."""

    async def second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(json.loads(await reader.readline())["cmd"])
        writer.write(line(1, **HELLO, state="idle"))
        heard.append(json.loads(await reader.readline())["cmd"])
        writer.write(line(2, ev="result"))
        await writer.drain()

    async with talking_to(first) as runner:
        with pytest.raises(RunnerGone):
            async for _ in runner.run("t", JOB, Limits(progress_s=5)):
                pass
        async with served(second) as connection:
            events = [event async for event in runner.resume(*connection, "t", JOB, Limits(progress_s=5))]
    assert heard == ["hello", "run"]
    assert len(events) == 1


async def test_a_new_connection_is_closed_with_the_client_even_if_no_event_was_asked_for() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking_to(silent) as runner, served(silent) as connection:
        runner.resume(*connection, "t", JOB, Limits(progress_s=5))
        await runner.close()
        assert connection[1].is_closing()

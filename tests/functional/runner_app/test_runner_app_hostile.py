"""Whoever reaches the port cannot end the app, nor make it grow, nor make the two editions disagree."""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from harness.runner.bundle import BuiltRunner
from tests.functional.runner_app.conftest import EDITIONS
from tests.functional.runner_process import LIMIT_S, RunnerProcess, launched, unpack
from tests.functional.runner_trials import eventually, job

FIXTURES = Path(__file__).parents[3] / "ios_runner_app" / "Tests" / "Fixtures"
MIB = 1024 * 1024
FLOOD_BYTES = 64 * MIB
"""A gigabyte behaves alike and takes its time; bench_runner.py sends one."""
ROOM_BYTES = 4 * MIB
"""How much the app's own memory may grow: buffers are bounded, allocators round up."""
FUZZED_LINES = 400
ANSWERS = ("hello", "pong", "error")


def own_bytes(app: RunnerProcess) -> int:
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def open_files(app: RunnerProcess) -> int:
    return len(list(Path(f"/proc/{app.process.pid}/fd").iterdir()))


def threads(app: RunnerProcess) -> int:
    return len(list(Path(f"/proc/{app.process.pid}/task").iterdir()))


def mutated(seed: int, count: int) -> Iterator[bytes]:
    """Golden commands, each a little wrong. None that closes the connection or asks for old events."""
    dice = random.Random(seed)
    golden = [line for line in (FIXTURES / "commands.ndjson").read_bytes().splitlines() if b'"cmd":"' in line]
    calm = [line for line in golden if not any(word in line for word in (b'"bye"', b'"resume"', b'"cancel"'))]
    pieces = [b"null", b"-1", b"1.0", b"1e3", b"true", b'"x"', b"[]", b"{}", b",", b'"', b"\\", b"\\ud800", b"\xff"]
    pieces += [b"9" * 30, b"\x00", b"\xc3\xbc", b" ", b":", b"[" * 70, b'"v":1,', b'"v":2,', b"NaN", b"0"]
    for _ in range(count):
        line = bytearray(dice.choice(calm))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(line))
            match dice.randrange(4):
                case 0:
                    line[at] = dice.randrange(256)
                case 1:
                    line[at:at] = dice.choice(pieces)
                case 2:
                    del line[at : at + dice.randint(1, 12)]
                case _:
                    line[at : at + dice.randint(0, 6)] = dice.choice(pieces)
        yield bytes(line).replace(b"\n", b"")


def answers(app: RunnerProcess, lines: list[bytes]) -> list[tuple[str, str | None, str | None]]:
    """What each line is answered with; a new connection before the app cuts the talker off."""
    told = []
    for start in range(0, len(lines), 90):
        with app.connect() as host:
            for line in lines[start : start + 90]:
                host.send_raw(line)
                event = host.until(*ANSWERS)
                told.append((event["ev"], event.get("kind"), event.get("trial")))
    return told


def test_fuzzed_lines_get_the_same_answers_from_both(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = list(mutated(seed=5, count=FUZZED_LINES))
    told = {}
    for name, build in EDITIONS.items():
        built: BuiltRunner = build(tmp_path_factory.mktemp(f"fuzz-{name}"))
        executable = unpack(built.path, tmp_path / name)
        # without a model every valid run is refused, so nothing starts
        with launched(executable, tmp_path / f"home-{name}") as app:
            told[name] = answers(app, lines)
            assert app.process.poll() is None
    differing = [
        (line, *both) for line, *both in zip(lines, told["python"], told["swift"], strict=True) if both[0] != both[1]
    ]
    assert not differing
    assert len({kind for _, kind, _ in told["swift"]}) >= 5, "the mutations reach more than one check"


def test_a_line_without_an_end_is_answered_once_and_held_nowhere(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=1)
        before = own_bytes(app)
        block = b"x" * MIB
        for _ in range(FLOOD_BYTES // MIB):
            host.send_raw_bytes(block)
        assert host.until("error")["kind"] == "too_long"
        host.send_raw(b"")
        host.ask("hello", "hello", v=1, host_t=2)
        assert own_bytes(app) - before < ROOM_BYTES
        assert len([event for event in host.seen if event["ev"] == "error"]) == 1


def test_many_short_lines_at_once_are_bounded_by_the_refusals(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=1)
        before = own_bytes(app)
        with suppress(OSError):  # it cuts us off
            for _ in range(64):
                host.send_raw_bytes(b"\n" * 65536)
        with suppress(OSError):
            list(host.events())
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=2)
        assert own_bytes(app) - before < ROOM_BYTES


def test_ten_connections_leave_one(app: RunnerProcess) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(app.connect())
        first.ask("hello", "hello", v=1, host_t=1)
        files, running = open_files(app), threads(app)
        others = [stack.enter_context(app.connect()) for _ in range(10)]
        others[-1].ask("hello", "hello", v=1, host_t=2)
        for replaced in (first, *others[:-1]):
            with suppress(ConnectionResetError):
                list(replaced.events())
        eventually(lambda: open_files(app) <= files and threads(app) <= running)


@pytest.mark.parametrize("half", [b"", b'{"cmd":"hel', b'{"cmd":"ping","host_t":1}\n'])
def test_half_open_connections_are_forgotten(app: RunnerProcess, half: bytes) -> None:
    app.connect().close()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", app.port), timeout=LIMIT_S) as rude:
            rude.sendall(half)
            # closing resets instead of saying goodbye
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=1)
        assert app.process.poll() is None
        eventually(lambda: threads(app) < 12)


def test_a_peer_that_never_reads_makes_nothing_grow(app: RunnerProcess) -> None:
    with app.connect() as polite:
        polite.ask("hello", "hello", v=1, host_t=1)
        before = own_bytes(app)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", app.port))
        ping = json.dumps({"cmd": "ping", "host_t": 1}).encode() + b"\n"
        deaf.sendall(ping * 20_000)
        journal = app.home / "Documents" / "trials"
        eventually(lambda: b'"ev":"heartbeat"' in next(journal.glob("process-*")).read_bytes()[-400:])
        assert own_bytes(app) - before < ROOM_BYTES
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=2)


def test_one_byte_at_a_time_is_a_line_too(app: RunnerProcess) -> None:
    with app.connect() as host:
        for byte in b'{"cmd":"ping","host_t":77}\n':
            host.send_raw_bytes(bytes([byte]))
        assert host.until("pong")["host_t"] == 77


def test_after_all_of_it_a_trial_still_runs(app: RunnerProcess) -> None:
    with app.connect() as host:
        for line in mutated(seed=6, count=60):
            host.send_raw(line)
        host.ask("ping", "pong", host_t=1)
    with app.connect() as host:
        assert host.load("t1", job(engine="read"))["ev"] == "result"

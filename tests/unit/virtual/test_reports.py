"""What reports say about a death, from what the phone knows about it."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.virtual.app_process import ProcessInfo
from harness.virtual.memory import JetsamDecision
from harness.virtual.profiles import make_state
from harness.virtual.reports import application_specific, write_jetsam_event

LIBSTDCXX = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (LIBSTDCXX, "terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc"),
        (
            "terminate called after throwing an instance of 'int'\n",
            "terminating due to uncaught exception of type int",
        ),
        (
            "noise\nlibc++abi: terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc\n",
            "terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc",
        ),
    ],
)
def test_uncaught_exceptions_are_put_as_apple_puts_them(tail: str, said: str) -> None:
    asi = application_specific(signal.SIGABRT, "Runner", tail)
    assert asi["libc++abi"] == [said]
    assert asi["libsystem_c.dylib"] == ["abort() called"]
    assert asi["Runner"] == [line for line in tail.splitlines() if line]


def test_other_deaths_make_no_exception_up() -> None:
    assert application_specific(signal.SIGABRT, "Runner", "") == {"libsystem_c.dylib": ["abort() called"]}
    assert application_specific(signal.SIGSEGV, "Runner", "last words\n") == {"Runner": ["last words"]}


def test_a_long_tail_is_cut_to_its_end() -> None:
    tail = "".join(f"line {number} {'x' * 5000}\n" for number in range(100))
    lines = application_specific(signal.SIGSEGV, "Runner", tail)["Runner"]
    assert [line.split()[1] for line in lines] == [str(number) for number in range(80, 100)]
    assert max(map(len, lines)) == 1000


def test_a_jetsam_event_counts_in_pages_rounded_up(tmp_path: Path) -> None:
    state = make_state("iphone-16-pro", {}, tmp_path, "test")
    started = datetime(2026, 1, 2, tzinfo=UTC)
    victim = ProcessInfo(4711, "Runner", "/private/var/x/Runner.app/Runner", "com.example.runner", started)
    decision = JetsamDecision(
        decided_ns=5, footprint_bytes=16384 * 10 + 1, peak_footprint_bytes=16384 * 20, resident_bytes=0, cpu_ns=10**9
    )
    file = write_jetsam_event(state, victim, decision)
    assert file.name.startswith("JetsamEvent-")
    header, _, body = file.read_text(encoding="utf-8").partition("\n")
    assert json.loads(header)["os_version"] == "iPhone OS 18.5 (22F76)"
    row = json.loads(body)["processes"][0]
    assert (row["rpages"], row["lifetimeMax"], row["cpuTime"]) == (11, 20, 1.0)
    assert list(tmp_path.glob(".*.ips")) == []

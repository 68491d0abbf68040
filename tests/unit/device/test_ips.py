"""Crash reports: what is read of them, and that no bytes make the reader fail with anything but ReportError."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.outcome import CrashReport, JetsamVictim
from harness.device.ips import MAX_REPORT_BYTES, ReportError, parse_report

PAGE_BYTES = 16384


def ips(bug_type: str, body: dict[str, Any]) -> bytes:
    header = {"bug_type": bug_type, "timestamp": "2026-01-02 03:04:05.06 +0000"}
    return json.dumps(header).encode() + b"\n" + json.dumps(body, indent=1).encode()


CRASH = {
    "pid": 42,
    "procName": "Runner",
    "captureTime": "2026-01-02 03:04:05.0600 +0000",
    "exception": {"type": "EXC_CRASH", "signal": "SIGABRT"},
    "termination": {"indicator": "Abort trap: 6"},
    "asi": {"libc++abi": ["terminating due to uncaught exception of type std::bad_alloc"]},
}
JETSAM = {
    "date": "2026-01-02 03:04:05.06 +0000",
    "largestProcess": "SpringBoard",
    "memoryStatus": {"pageSize": PAGE_BYTES},
    "processes": [
        {"pid": 1, "name": "SpringBoard", "rpages": 90_000},
        {"pid": 42, "name": "Runner", "rpages": 5_760, "lifetimeMax": 5_800, "reason": "per-process-limit"},
    ],
}


def test_a_crash_report() -> None:
    report = parse_report(ips("309", CRASH), "Runner.ips")
    assert isinstance(report, CrashReport)
    assert (report.pid, report.signal) == (42, "SIGABRT")
    assert any("std::bad_alloc" in message for message in report.messages)


def test_the_victim_is_the_process_with_a_reason() -> None:
    report = parse_report(ips("298", JETSAM), "JetsamEvent.ips")
    assert isinstance(report, JetsamVictim)
    assert (report.pid, report.reason) == (42, "per-process-limit")
    assert report.footprint_bytes == 5_760 * PAGE_BYTES
    assert report.lifetime_max_bytes == 5_800 * PAGE_BYTES


def test_what_is_missing_stays_missing() -> None:
    victim = {"pid": 42, "name": "Runner", "rpages": 1, "reason": "vnode-limit"}
    report = parse_report(ips("298", {**JETSAM, "processes": [victim]}), "x.ips")
    assert isinstance(report, JetsamVictim)
    assert report.lifetime_max_bytes is None


@pytest.mark.parametrize(
    "data",
    [
        ips("210", {"panic": "x"}),
        ips("298", {**JETSAM, "processes": [{"pid": 1, "name": "SpringBoard", "rpages": 1}]}),
    ],
)
def test_other_reports_say_nothing_about_a_trial(data: bytes) -> None:
    assert parse_report(data, "x.ips") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ips("309", CRASH)[:-5],
        ips("309", {**CRASH, "pid": "42"}),
        ips("309", {**CRASH, "pid": -1}),
        ips("298", {**JETSAM, "memoryStatus": {}}),
        b'{"bug_type":"309"}\n[]',
        b'{"bug_type":"309"}\n' + b"[" * 100_000,
        b" " * (MAX_REPORT_BYTES + 1),
    ],
)
def test_bad_reports_are_named(data: bytes) -> None:
    with pytest.raises(ReportError, match=r"x\.ips"):
        parse_report(data, "x.ips")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CRASH, *JETSAM]), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.sampled_from(["298", "309"]),
    st.dictionaries(st.sampled_from([*CRASH, *JETSAM]), json_values, max_size=6),
)
def test_odd_values_never_break_the_reader(bug_type: str, changes: dict[str, Any]) -> None:
    base = CRASH if bug_type == "309" else JETSAM
    with suppress(ReportError):
        parse_report(ips(bug_type, {**base, **changes}), "x.ips")


@given(st.binary(max_size=300))
def test_noise_never_breaks_the_reader(data: bytes) -> None:
    with suppress(ReportError):
        parse_report(data, "x.ips")

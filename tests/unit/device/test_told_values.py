"""What a phone tells of its clock, its processes and its battery, right and wrong."""

from __future__ import annotations

import math
import time

import pytest

from harness.core.telemetry import Source
from harness.device.system_monitor import MachClock, reading_of
from harness.device.values import celsius, clock_offset_ns, end_in_words, percent, plain, whole, yes_or_no

CLOCK = MachClock(numerator=125, denominator=3, offset_ns=1_000)


def row(values: object, pid: object = 7) -> dict[str, object]:
    return {"Processes": {pid: values}, "EndMachAbsTime": 240}


def test_a_reading_has_the_phones_time_on_the_hosts_clock() -> None:
    reading = reading_of(row([7, 4096, 8192]), 7, CLOCK)
    assert reading is not None
    assert (reading.source, reading.t_ns) == (Source.HOST, 240 * 125 // 3 + 1_000)
    assert (reading.footprint_bytes, reading.resident_bytes) == (4096, 8192)


@pytest.mark.parametrize(
    "other",
    [None, 3, [], {}, {"Processes": 4}, row([7, 1]), row("7ab"), row([8, 1, 1]), row([7, 1, 1], pid=8), row(None)],
)
def test_rows_of_other_kinds_are_none(other: object) -> None:
    assert reading_of(other, 7, CLOCK) is None


def test_figures_that_are_none_are_missing_not_zero() -> None:
    reading = reading_of({"Processes": {7: [7, -1, 1.5]}}, 7, CLOCK)
    assert reading is not None
    assert (reading.footprint_bytes, reading.resident_bytes) == (None, None)
    assert abs(reading.t_ns - time.monotonic_ns()) < 10_000_000_000, "now, as the phone did not say"


def test_the_clock_was_read_in_the_middle_of_the_round_trip() -> None:
    clock = MachClock.told([240, 125, 3], sent_ns=20_000, received_ns=22_000)
    assert clock.host_ns(240) == 21_000
    assert clock.host_ns(243) == 21_125


@pytest.mark.parametrize("info", [None, [], [1, 2], [1, 0, 3], [1, 125, 0], [-1, 125, 3], "abc", [True, 1, 1]])
def test_what_is_no_clock_is_refused(info: object) -> None:
    with pytest.raises(ValueError, match="a clock that is none"):
        MachClock.told(info, sent_ns=0, received_ns=0)


def test_figures_of_the_condition() -> None:
    assert (percent(64), percent(101), percent(-1), percent(True), percent("64")) == (64, None, None, None, None)
    assert celsius(3150) == 31.5
    assert [celsius(odd) for odd in (-4001, 12_001, True, "31", None)] == [None] * 5
    assert (yes_or_no(True), yes_or_no(1), yes_or_no(None)) == (True, None, None)
    assert (whole(2**62), whole(2**62 - 1)) == (None, 2**62 - 1)
    assert clock_offset_ns(2, sent_ns=1_000_000_000, received_ns=2_000_000_000) == 500_000_000
    odd_times = (math.nan, math.inf, True, "2", None)
    assert [clock_offset_ns(odd, sent_ns=0, received_ns=0) for odd in odd_times] == [None] * 5


def test_an_end_in_words() -> None:
    assert end_in_words(None, 9) == "signal 9"
    assert end_in_words(0, None) == "exit code 0"
    assert end_in_words(3, 0) == "exit code 3"
    assert end_in_words("x", -1) == "no exit code, no signal"


def test_property_lists_become_json() -> None:
    assert plain({1: [b"x", (True, None)]}) == {"1": ["b'x'", [True, None]]}

"""The app's sampler: it counts what it took and what it missed, and a failed allocation does not end it."""

from __future__ import annotations

import threading
from itertools import count

from harness.runner.app.sampler import Sampler

LIMIT_S = 30.0


def test_ticks_come_in_order_and_are_counted() -> None:
    seen: list[int] = []
    enough = threading.Event()

    def tick(now_ns: int, period_ns: int) -> None:
        assert period_ns == 1_000_000
        seen.append(now_ns)
        if len(seen) >= 50:
            enough.set()

    sampler = Sampler(1000, tick)
    sampler.start()
    assert enough.wait(LIMIT_S)
    stats = sampler.stop()
    assert stats.samples == len(seen)
    assert seen == sorted(seen)
    assert stats.late_p50_ns is not None
    assert stats.late_p99_ns is not None
    assert stats.late_max_ns is not None
    assert 0 <= stats.late_p50_ns <= stats.late_p99_ns <= stats.late_max_ns


def test_a_slow_tick_is_counted_as_missed_deadlines() -> None:
    release, called = threading.Event(), threading.Event()
    clock = count()

    def tick(now_ns: int, period_ns: int) -> None:
        if next(clock) == 0:
            release.wait(LIMIT_S)
        else:
            called.set()

    sampler = Sampler(1000, tick)
    sampler.start()
    threading.Timer(0.05, release.set).start()
    assert called.wait(LIMIT_S)
    assert sampler.stop().missed >= 40


def test_a_failed_allocation_is_a_missed_sample() -> None:
    enough = threading.Event()
    calls = count()

    def tick(now_ns: int, period_ns: int) -> None:
        if next(calls) >= 5:
            enough.set()
        raise MemoryError

    sampler = Sampler(1000, tick)
    sampler.start()
    assert enough.wait(LIMIT_S)
    stats = sampler.stop()
    assert (stats.samples, stats.late_p50_ns, stats.late_max_ns) == (0, None, None)
    assert stats.missed >= 6


def test_a_slow_sampler_stops_at_once() -> None:
    sampler = Sampler(1, lambda now_ns, period_ns: None)
    sampler.start()
    assert sampler.stop().samples <= 1

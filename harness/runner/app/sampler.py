"""The sampler: one thread, absolute deadlines, honest about how late it was.

It runs while the engine works, because ctypes releases the interpreter's lock during a foreign call.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from typing import NamedTuple

NS_PER_S = 1_000_000_000
LONGEST_SLEEP_S = 0.02
"""A slow sampler still notices within this time that it shall stop."""
BUCKET_NS = 10_000
BUCKETS = 10_000
"""Lateness is counted in steps of 10 µs up to 100 ms; the last bucket holds the rest."""


class SamplerStats(NamedTuple):
    """How the sampling went. Lateness is against the deadlines, ns, None without samples."""

    samples: int
    missed: int
    late_p50_ns: int | None
    late_p99_ns: int | None
    late_max_ns: int | None


class Sampler:
    """Calls ``tick(now_ns, period_ns)`` ``hz`` times a second on a thread of its own."""

    def __init__(self, hz: int, tick: Callable[[int, int], None], name: str = "sampler") -> None:
        self._period_ns = NS_PER_S // hz
        self._tick = tick
        self._stop = False
        self._samples = 0
        self._missed = 0
        self._late_max_ns = 0
        self._late = array("L", bytes(array("L").itemsize * BUCKETS))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first sample is due at once."""
        self._thread.start()

    def stop(self) -> SamplerStats:
        """End, and tell how it went."""
        self._stop = True
        self._thread.join()
        return SamplerStats(
            self._samples,
            self._missed,
            self._percentile(50),
            self._percentile(99),
            self._late_max_ns if self._samples else None,
        )

    def _run(self) -> None:
        deadline = time.monotonic_ns()
        while not self._stop:
            now = time.monotonic_ns()
            if now < deadline:
                time.sleep(min((deadline - now) / NS_PER_S, LONGEST_SLEEP_S))
                continue
            try:
                self._tick(now, self._period_ns)
                self._count(now - deadline)
            except MemoryError:
                # Under a hard memory limit a tick may find nothing left; the next one may. It counts as missed.
                self._missed += 1
            deadline += self._period_ns
            behind = (time.monotonic_ns() - deadline) // self._period_ns
            if behind > 0:
                self._missed += behind
                deadline += behind * self._period_ns

    def _count(self, late_ns: int) -> None:
        self._samples += 1
        self._late[min(late_ns // BUCKET_NS, BUCKETS - 1)] += 1
        self._late_max_ns = max(self._late_max_ns, late_ns)

    def _percentile(self, percent: int) -> int | None:
        """Return the upper edge of the bucket that holds the percentile."""
        wanted = self._samples * percent / 100
        seen = 0
        for bucket, count in enumerate(self._late):
            seen += count
            if count and seen >= wanted:
                return min((bucket + 1) * BUCKET_NS, self._late_max_ns)
        return None

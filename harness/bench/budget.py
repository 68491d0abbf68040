"""What a suite may use up: time, and bytes over the cable. Counts, and says when a trial may not begin any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from harness.bench.suite_tables import Budget
from harness.core.units import format_bytes


def duration_words(seconds: float) -> str:
    """`45 s`, `2:00:00`."""
    return f"{seconds:.3g} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


class BudgetMeter:
    """Of one suite in one run; its time begins when it is first asked, before the first trial."""

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._clock = clock
        self._began_s: float | None = None
        self._pushed_before: int = 0

    def time_refuses(self, pushed_bytes: int, rest_s: float = 0.0) -> str | None:
        """Why no further trial begins that must rest for `rest_s` first; None: the time is not used up.

        `pushed_bytes`: all that the run has pushed so far; what it had before the first question is not counted.
        """
        if self._began_s is None:
            self._began_s, self._pushed_before = self._clock(), pushed_bytes
        limit_s = self.budget.max_s
        if limit_s is None or self._clock() + rest_s - self._began_s < limit_s:
            return None
        return f"the budget's max_s = {limit_s:g} ({duration_words(limit_s)}) is used up"

    def push_refuses(self, pushed_bytes: int, push_bytes: int) -> str | None:
        """Why a trial that has to push `push_bytes` does not begin; None: that much is left."""
        limit_bytes = self.budget.max_push
        if limit_bytes is None or push_bytes == 0:
            return None
        left_bytes = limit_bytes - (pushed_bytes - self._pushed_before)
        if push_bytes <= left_bytes:
            return None
        return (
            f"a push of {format_bytes(push_bytes)} is needed, and of the budget's max_push = "
            f'"{format_bytes(limit_bytes)}" {format_bytes(max(0, left_bytes))} are left'
        )

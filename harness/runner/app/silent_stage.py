"""A stage for loads that are not the measured one: a warm-up, and the further copies of a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .engine import Phase, Stage


class SilentStage:
    """A stage on which everything happens and no phase is told; ``now_in`` hears what really runs (None: nothing)."""

    def __init__(self, stage: Stage, now_in: Callable[[str | None], None]) -> None:
        self._stage = stage
        self._now_in = now_in

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Open a phase that leaves no trace."""
        self._now_in(name)
        try:
            yield Phase(name, time.monotonic_ns())
        finally:
            self._now_in(None)

    def check(self) -> None:
        """Raise if the trial shall stop."""
        self._stage.check()

    def cancelled(self, timeout_s: float) -> bool:
        """Wait at most ``timeout_s``; tell whether the trial shall stop."""
        return self._stage.cancelled(timeout_s)

    def pieces(self, count: int) -> None:
        """Nothing is generated on this stage."""

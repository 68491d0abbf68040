"""What the harness itself did for a trial, and when: spans on the host's monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.telemetry import HostStep

# A trial has a dozen; one whose cable is pulled again and again has more, and the first of them tell the story.
MAX_STEPS = 256


class StepLog:
    """In order of their begin; steps may overlap."""

    def __init__(self) -> None:
        self._steps: list[HostStep] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that ends with the block, however it ends."""
        if len(self._steps) >= MAX_STEPS:
            yield
            return
        index, begin_ns = len(self._steps), time.monotonic_ns()
        self._steps.append(HostStep(name, begin_ns))
        try:
            yield
        finally:
            self._steps[index] = HostStep(name, begin_ns, time.monotonic_ns())

    def steps(self, clock_offset_ns: int | None) -> tuple[HostStep, ...]:
        """All so far, also on the app's clock where its offset is known."""
        return tuple(step.on_app_clock(clock_offset_ns) for step in self._steps)

"""What a trial's timeline is made of before it is drawn: one clock, phases as spans, how it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from harness.analysis.timeline import gap_limit_ns, origin_ns
from harness.core.outcome import Family, Outcome
from harness.core.record import TrialRecord
from harness.report.outcome_words import known_outcome
from harness.report.words import drawable

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.telemetry import ReadingArrays

NS_PER_S = 1_000_000_000
MAX_NAME_CHARS = 30
"""Of a phase, a step, a notice."""
MAX_OF_A_KIND = 400
"""Phases, or notices, that are drawn; 64 copies of a load have some 300."""
FAR_LIMIT = 2.0
"""A limit above this many times the data's maximum is told at the top edge; drawn, it would squash the data."""

_DIED = {Outcome.JETSAM, Outcome.BAD_ALLOC, Outcome.ABORTED, Outcome.GPU_FAULT, Outcome.CRASHED}


@dataclass(frozen=True)
class Trial:
    """A record with its readings (a frame as of `read_parquet`)."""

    record: TrialRecord
    readings: pd.DataFrame

    @cached_property
    def origin_ns(self) -> int:
        """Begin of the trial on the app's clock; 0 where nothing of the app is known."""
        return origin_ns(self.record.phases, self.readings) or 0


@dataclass(frozen=True)
class SampledTrial:
    """A record with its readings, as pages draw them."""

    record: TrialRecord
    readings: ReadingArrays

    @cached_property
    def origin_ns(self) -> int:
        """Begin of the trial on the app's clock; 0 where nothing of the app is known."""
        of_app = self.readings.t_ns[self.readings.of_app][:1].tolist()
        return min([*of_app, *(phase.begin_ns for phase in self.record.phases)], default=0)


@dataclass(frozen=True)
class Span:
    """A phase, or several of one name in a row; in seconds since the trial began."""

    name: str
    begin_s: float
    end_s: float


def bounded(record: TrialRecord) -> tuple[TrialRecord, int]:
    """The record with no more phases, steps, notices and cuts than a picture has room for, and how many it lost."""
    kept = {name: getattr(record, name)[:MAX_OF_A_KIND] for name in ("phases", "host_steps", "notices", "cuts")}
    lost = sum(len(getattr(record, name)) - len(ones) for name, ones in kept.items())
    return (replace(record, **kept), lost) if lost else (record, 0)


def spans(trial: Trial | SampledTrial, end_s: float) -> list[Span]:
    """The phases; one that the process did not live to end lasts to the last thing known (`end_s`). Those that follow
    others of the same name, as copies do, are one span with them.
    """
    origin = trial.origin_ns
    found = []
    for name, group in groupby(trial.record.phases, key=lambda phase: phase.name):
        phases = list(group)
        last_end_ns = phases[-1].end_ns
        begin = (phases[0].begin_ns - origin) / NS_PER_S
        end = max(begin, end_s) if last_end_ns is None else (last_end_ns - origin) / NS_PER_S
        count = f" × {len(phases)}" if len(phases) > 1 else ""
        found.append(Span(shortened(name) + count + ("…" if last_end_ns is None else ""), begin, end))
    return found


def shortened(name: str) -> str:
    """A name from outside as a picture has room for it."""
    line = drawable(name)
    return line if len(line) <= MAX_NAME_CHARS else f"{line[: MAX_NAME_CHARS - 1]}…"


def sample_gap_ns(record: TrialRecord) -> int:
    """Longest time between two samples that a line joins; records of another harness say no rate."""
    return gap_limit_ns(max(record.sample_hz, 1))


def above_zero(value: float) -> float:
    """The end of an axis; 1 where the figures give none."""
    return value if value > 0 and math.isfinite(value) else 1.0


def levels(begins: Sequence[float], widths: Sequence[float]) -> list[int]:
    """Rows for names that stand right of the marks of their begins, 0 the lowest; `begins` in order.

    A mark goes from its name down to the plot. So that none crosses a name, a name stands above every later one that
    begins within its own width.
    """
    found = [0] * len(begins)
    for index in reversed(range(len(begins))):
        end = begins[index] + widths[index]
        below = [found[later] for later in range(index + 1, len(begins)) if begins[later] < end]
        found[index] = max(below, default=-1) + 1
    return found


def end_marker(record: TrialRecord) -> str | None:
    """How a figure marks the trial's end: `X` for a death, `D` for any other failure; None: it measured."""
    outcome = known_outcome(record.outcome)
    if outcome is not None and outcome.family is Family.MEASURED:
        return None
    return "X" if outcome in _DIED else "D"

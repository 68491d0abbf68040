"""The levels of a segment's nights, and where they changed, as the verdicts of those nights would have told it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.analysis.decision import Decision, DecisionOptions, Step, decide
from harness.analysis.metrics import Metric

_EVERY_NIGHTS = 80
"""A verdict looks back over a window only: older nights are judged as of each so many."""


@dataclass(frozen=True)
class Piece:
    """Nights of one level, as places among the nights handed in."""

    first: int
    last: int
    value: float


@dataclass(frozen=True)
class Levels:
    """Of all nights of a segment that have a figure."""

    pieces: tuple[Piece, ...]
    """Oldest first; empty: too few nights for a level."""
    steps: tuple[Step, ...]
    """Oldest first; one between each two pieces."""
    detectable_shift: float | None
    """The smallest step that the last night would have told, as a share of the level."""

    @property
    def begins(self) -> int:
        """Place of the first night of the present level."""
        return self.pieces[-1].first


def levels_of(
    values: list[float],
    quartiles: list[tuple[float, float]],
    metric: Metric,
    options: DecisionOptions,
    *,
    tonight_short: bool = False,
) -> Levels:
    """Of nights that all have a figure, oldest first."""
    nights, spread = np.array(values, dtype=np.float64), np.array(quartiles, dtype=np.float64).reshape(-1, 2)
    last = decide(nights, metric, options, quartiles=spread, tonight_short=tonight_short)
    if not last.enough:
        return Levels((), (), None)
    steps = _steps(nights, spread, metric, options, last)
    bounds = [0, *(step.index for step in steps), len(values)]
    pieces = tuple(
        Piece(begin, end - 1, float(np.median(nights[begin:end]))) for begin, end in pairwise(bounds) if begin < end
    )
    return Levels(pieces, steps, last.detectable_shift)


def _steps(
    nights: np.ndarray[tuple[int], np.dtype[np.float64]],
    spread: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    metric: Metric,
    options: DecisionOptions,
    last: Decision,
) -> tuple[Step, ...]:
    """Of each verdict those that no later one looks back upon; the newest verdict has the last word."""
    window, lead = options.detection.window, options.detection.min_lead
    ends = [*range(window, nights.size, _EVERY_NIGHTS), nights.size]
    firsts = [0 if end <= window else end - window + lead for end in ends]
    found: list[Step] = []
    for end, first, until in zip(ends, firsts, [*firsts[1:], nights.size], strict=True):
        # the alarm of one night is about that night: of an old one later nights have shown what it was
        decision = (
            last
            if end == nights.size
            else decide(nights[:end], metric, options, quartiles=spread[:end], tonight_short=True)
        )
        for step in decision.steps:
            if first <= step.index < until and not any(step.is_same_as(one) for one in found):
                found.append(step)
    return tuple(sorted(found, key=lambda step: step.index))

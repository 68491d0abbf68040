"""The detectors that need no environment of their own: ours as users get it, the kernel alone, two simple rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.analysis.change_points import Detection, FloatArray, change_points, night_alarm
from harness.analysis.decision import decide
from harness.analysis.metrics import METRIC_BY_NAME
from tests.benchmarks.verdicts.noise import LOWER, MEDIAN, UPPER, Scenario
from tests.benchmarks.verdicts.walk import Detector

PLAIN = Detection(penalty=4.0, min_errors=0.0, min_lead=0)
"""The kernel alone, without the check of its cuts."""
MIN_TRIALS = 5
"""A night of fewer is no alarm alone."""

_PERFHERDER_T = 7.0
_PERFHERDER_SHIFT = 0.02
_PERFHERDER_WINDOW = 12
"""Values on each side."""


@dataclass(frozen=True)
class OwnDetector:
    title: str
    of_scenario: Callable[[Scenario], Detector]
    """Of what it makes is asked with `[night, quartile]`."""


def decision(scenario: Scenario) -> Detector:
    """Change points and the same-night alarm, with every condition: what `harness verdicts` tells."""
    metric = METRIC_BY_NAME["load_ns"]
    short = scenario.runs < MIN_TRIALS

    def detect(nights: FloatArray) -> list[int]:
        medians = np.ascontiguousarray(nights[:, MEDIAN])
        told = decide(medians, metric, quartiles=nights[:, (LOWER, UPPER)], tonight_short=short)
        return [step.index for step in told.steps]

    return detect


def of_medians(detector: Detector) -> Callable[[Scenario], Detector]:
    """For a detector that knows a night's median only."""
    return lambda _: lambda nights: detector(np.ascontiguousarray(nights[:, MEDIAN]))


def checked_kernel(values: FloatArray) -> list[int]:
    """Ours without the same-night alarm."""
    return [change.index for change in change_points(values)]


def plain_kernel(values: FloatArray) -> list[int]:
    return [change.index for change in change_points(values, options=PLAIN)]


def last_night(values: FloatArray) -> list[int]:
    """Tonight against the median of 7 nights, by more than 10 %."""
    change = night_alarm(values)
    return [] if change is None else [change.index]


def perfherder(values: FloatArray) -> list[int]:
    """The rule as its documentation tells it: t of linearly weighted windows of 12, a local peak above 7."""
    if values.size < 2 * _PERFHERDER_WINDOW:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(values, _PERFHERDER_WINDOW)
    before, before_error = _weighted(windows[:-_PERFHERDER_WINDOW, ::-1])
    after, after_error = _weighted(windows[_PERFHERDER_WINDOW:])
    scores = np.abs(after - before) / np.sqrt(before_error + after_error)
    shifts = np.abs(windows[_PERFHERDER_WINDOW:].mean(axis=1) / windows[:-_PERFHERDER_WINDOW].mean(axis=1) - 1)
    around = np.concatenate([[0.0], scores, [0.0]])
    peaks = (scores >= around[:-2]) & (scores >= around[2:])
    alarms = (scores > _PERFHERDER_T) & peaks & (shifts >= _PERFHERDER_SHIFT)
    return [int(place) + _PERFHERDER_WINDOW for place in np.flatnonzero(alarms)]


_WEIGHTS = np.arange(_PERFHERDER_WINDOW, 0, -1) / _PERFHERDER_WINDOW
"""The nearest to the change weighs most."""


def _weighted(windows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means, and the squares of their errors."""
    means = np.average(windows, axis=1, weights=_WEIGHTS)
    variances = np.average((windows - means[:, None]) ** 2, axis=1, weights=_WEIGHTS)
    return means, variances / (_PERFHERDER_WINDOW - 1)


OURS = OwnDetector("**ours**: kernel, checked cuts, same-night alarm", decision)
OWN_ROWS = (
    OURS,
    OwnDetector("ours without the same-night alarm", of_medians(checked_kernel)),
    OwnDetector("kernel alone (γ 0.25, penalty 4)", of_medians(plain_kernel)),
    OwnDetector("Perfherder's rule, t 7, ≥ 2 %", of_medians(perfherder)),
    OwnDetector("last night against the median of 7, > 10 %", of_medians(last_night)),
)

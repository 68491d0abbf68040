"""The detectors that need no environment of their own: ours as users get it, the kernel alone, two simple rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.analysis.change_points import Detection, FloatArray, change_points, night_alarm
from harness.analysis.decision import decide
from harness.analysis.metrics import METRIC_BY_NAME
from tests.benchmarks.verdicts.noise import Scenario
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


def decision(scenario: Scenario) -> Detector:
    """Change points and the same-night alarm, with every condition: what `harness verdicts` tells."""
    metric = METRIC_BY_NAME["load_ns"]
    short = scenario.runs < MIN_TRIALS
    return lambda values: [step.index for step in decide(values, metric, tonight_short=short).steps]


def checked_kernel(_: Scenario) -> Detector:
    """Ours without the same-night alarm."""
    return lambda values: [change.index for change in change_points(values)]


def plain_kernel(_: Scenario) -> Detector:
    return lambda values: [change.index for change in change_points(values, options=PLAIN)]


def last_night(_: Scenario) -> Detector:
    """Tonight against the median of 7 nights, by more than 10 %."""

    def detect(values: FloatArray) -> list[int]:
        change = night_alarm(values)
        return [] if change is None else [change.index]

    return detect


def perfherder(_: Scenario) -> Detector:
    """The rule as its documentation tells it: t of linearly weighted windows of 12, a local peak above 7."""
    return perfherder_places


def perfherder_places(values: FloatArray) -> list[int]:
    """First values of the new levels."""
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
    OwnDetector("ours without the same-night alarm", checked_kernel),
    OwnDetector("kernel alone (γ 0.25, penalty 4)", plain_kernel),
    OwnDetector("Perfherder's rule, t 7, ≥ 2 %", perfherder),
    OwnDetector("last night against the median of 7, > 10 %", last_night),
)

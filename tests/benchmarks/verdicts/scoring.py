"""What a detector's places, told night after night, are worth: false alarms, found steps, delays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.verdicts.noise import STEP_NIGHT, Scenario
from tests.benchmarks.verdicts.walk import NONE

Places = NDArray[np.int32]
"""`[series, night, slot]`: the places told on a night, NONE in unused slots."""

_SAME_PLACE = 3
"""Nights: alarms no further apart are one, seen again."""
_RIGHT_PLACE = 5
"""Nights that a found step may be off."""


@dataclass(frozen=True)
class Score:
    """Of one detector on one scenario."""

    series: int
    false_alarms: int | None = None
    """Distinct ones of all series; None: a scenario with a step."""
    found: float | None = None
    """Share of the series; None: a scenario without a step."""
    delay: float | None = None
    """Nights until the median found step was told: 1 is its first night. None: none was found."""
    found_in_three: float | None = None

    @property
    def false_per_thousand(self) -> float:
        """False alarms per 1000 series."""
        return 1000 * (self.false_alarms or 0) / self.series


def score(scenario: Scenario, places: Places) -> Score:
    """Judges what was told about every series of a scenario."""
    if not scenario.step:
        return Score(len(places), false_alarms=sum(len(false_alarms(one)) for one in places))
    delays = _delays(places)
    found = delays[np.isfinite(delays)]
    return Score(
        len(places),
        found=len(found) / len(places),
        delay=float(np.median(found)) if len(found) else None,
        found_in_three=float(np.mean(delays <= 3)),
    )


def false_alarms(places: NDArray[np.int32]) -> list[int]:
    """Nights on which a new place was told; one that was told before, within 3 nights, is not new."""
    told: set[int] = set()
    nights = []
    for night in np.flatnonzero((places != NONE).any(axis=1)):
        for place in places[night][places[night] != NONE]:
            if all(abs(int(place) - known) > _SAME_PLACE for known in told):
                nights.append(int(night))
            told.add(int(place))
    return nights


def _delays(places: Places) -> NDArray[np.float64]:
    hit = (places[:, STEP_NIGHT:] != NONE) & (np.abs(places[:, STEP_NIGHT:] - STEP_NIGHT) <= _RIGHT_PLACE)
    nights = hit.any(axis=2)
    return np.where(nights.any(axis=1), nights.argmax(axis=1) + 1.0, np.inf)

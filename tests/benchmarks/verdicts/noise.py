"""Simulated nights: what a phone might measure, with and without a real change. No phone has measured any of it.

A run's noise has a standard deviation σ, of which the between-night part is σ/2: the runs of one night share it. Of the
runs 2 % are outliers, slower by 10 to 30 %. A night is the median of its runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEVEL = 1e9
"""Nanoseconds before any change: a load of a second."""
CLEAN_NIGHTS = 180
STEP_NIGHT = 120
"""First night of the new level."""
STEP_NIGHTS = STEP_NIGHT + 30
"""A change that is not found within 30 nights is not found."""
BETWEEN_SHARE = 0.5
"""Of σ; the rest, in squares, is within a night."""
OUTLIER_SHARE = 0.02
OUTLIER_SIZES = (0.10, 0.30)
_HEAVY_DEGREES = 3
"""Of freedom of Student's t: so few that now and then a night is ten deviations off."""
_AUTOCORRELATION = 0.3
_BURN_IN = 50
"""Nights after which an AR series has forgotten where it began."""


@dataclass(frozen=True)
class Scenario:
    """One kind of series. `step` 0: nothing changes, whatever is told is a false alarm."""

    name: str
    sigma: float
    runs: int = 5
    heavy: bool = False
    """Student-t noise instead of normal, and nights that depend on the night before."""
    step: float = 0.0
    seed: int = 1

    @property
    def nights(self) -> int:
        return STEP_NIGHTS if self.step else CLEAN_NIGHTS


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("1 run", 0.03, runs=1, seed=11),
    Scenario("5 runs", 0.03, seed=12),
    Scenario("heavy", 0.03, heavy=True, seed=13),
    Scenario("3 % at σ 3 %", 0.03, step=0.03, seed=21),
    Scenario("5 % at σ 3 %", 0.03, step=0.05, seed=22),
    Scenario("10 % at σ 3 %", 0.03, step=0.10, seed=23),
    Scenario("5 % at σ 5 %", 0.05, step=0.05, seed=24),
    Scenario("5 % heavy", 0.03, heavy=True, step=0.05, seed=25),
)


LOWER, MEDIAN, UPPER = range(3)


@cache
def quartiles(scenario: Scenario, count: int) -> FloatArray:
    """`[series, night, quartile]` of each night's runs, in ns. The first series are the same whatever the count."""
    return np.stack([_one(scenario, np.random.default_rng([scenario.seed, place])) for place in range(count)])


def series(scenario: Scenario, count: int) -> FloatArray:
    """`[series, night]`: the medians alone, contiguous."""
    return np.ascontiguousarray(quartiles(scenario, count)[..., MEDIAN])


def runs_of_a_night(
    scenario: Scenario, shift: float, count: int, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Interleaved runs of two builds on one night, `count` a side, the second one slower by `shift`.

    The night is the same for both, so its part of the noise is in neither.
    """
    within = scenario.sigma * math.sqrt(1 - BETWEEN_SHARE**2)
    factors = 1 + within * _unit_noise(scenario, (2, count), random)
    factors *= _outliers((2, count), random)
    return LEVEL * factors[0], LEVEL * (1 + shift) * factors[1]


def _one(scenario: Scenario, random: np.random.Generator) -> FloatArray:
    shape = (scenario.nights, scenario.runs)
    between = scenario.sigma * BETWEEN_SHARE * _nights(scenario, random)
    within = scenario.sigma * math.sqrt(1 - BETWEEN_SHARE**2) * _unit_noise(scenario, shape, random)
    values = (1 + between[:, None] + within) * _outliers(shape, random)
    nightly: FloatArray = LEVEL * np.quantile(values, (0.25, 0.5, 0.75), axis=1).T
    if scenario.step:
        nightly[STEP_NIGHT:] *= 1 + scenario.step
    return nightly


def _nights(scenario: Scenario, random: np.random.Generator) -> FloatArray:
    if not scenario.heavy:
        return random.standard_normal(scenario.nights)
    shocks = _unit_noise(scenario, (scenario.nights + _BURN_IN,), random) * math.sqrt(1 - _AUTOCORRELATION**2)
    for night in range(1, len(shocks)):
        shocks[night] += _AUTOCORRELATION * shocks[night - 1]
    return shocks[_BURN_IN:]


def _unit_noise(scenario: Scenario, shape: tuple[int, ...], random: np.random.Generator) -> FloatArray:
    """Of standard deviation 1, heavy-tailed or not."""
    if not scenario.heavy:
        return random.standard_normal(shape)
    return random.standard_t(_HEAVY_DEGREES, shape) / math.sqrt(_HEAVY_DEGREES / (_HEAVY_DEGREES - 2))


def _outliers(shape: tuple[int, ...], random: np.random.Generator) -> FloatArray:
    return 1 + (random.random(shape) < OUTLIER_SHARE) * random.uniform(*OUTLIER_SIZES, shape)

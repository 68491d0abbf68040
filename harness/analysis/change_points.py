"""Where the level of a series of nights changed: kernel change points, and a same-night alarm. Pure.

The nights are scaled by their own night-to-night noise and split so that the Gaussian-kernel cost of the pieces plus a
penalty for each cut is least. The kernel is bounded: a night far off costs no more than one that is a little off, so a
single wild night makes no change. A cut stays when its two levels differ by enough standard errors, in which the tails
of the noise and its autocorrelation count. Nights without a figure are left out by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SD_PER_MAD = 1.4826
"""Standard deviations in one median absolute deviation of normal noise."""
_NOISE_FLOOR = 0.1
"""Of the smallest shift that counts: noise below it is taken for that much, so that ties and tiny noise divide nothing
by zero and make no change out of nothing."""
_LEAST_LEVEL = 1e-9
"""Of the largest value: a smaller level is no measure of what is small."""
_CLIP_DEVIATIONS = 2.5
"""A night further off its level counts as if it were this far off."""
_MOST_AUTOCORRELATION = 0.6
"""A larger estimate from a hundred nights is taken for this much: it would forbid every change."""
_NIGHTS_BEFORE = 7
"""The same-night alarm compares with the median of up to so many nights."""
_FEWEST_NIGHTS_BEFORE = 3
"""Fewer nights than these are no level to compare with."""
_NIGHTS_OF_DOUBT = 5
"""The noise of a few nights is little known: errors are larger by this many divided by the nights."""


class NotFinite(ValueError):
    """A night without a figure was handed in."""


@dataclass(frozen=True)
class Detection:
    """The numbers of the recipe; docs/verdicts.md says why each."""

    gamma: float = 0.25
    """Of the kernel exp(-gamma d²), d in standard deviations of the noise."""
    penalty: float = 3.5
    """A cut must save this much cost."""
    min_segment: int = 3
    """Nights; a shorter piece is no level."""
    min_shift: float = 0.02
    """Share of the level before; a smaller shift is not reported."""
    min_errors: float = 5.1
    """Standard errors of the difference between the two levels; a less certain change is not reported. 0: all are."""
    window: int = 120
    """Nights looked back."""
    min_lead: int = 20
    """Nights of the window before a change, where the series is longer than the window: with fewer, what came before is
    hardly in view any more."""


@dataclass(frozen=True)
class Change:
    """The level changed between two nights."""

    index: int
    """Place of the first night of the new level in the values handed in."""
    before: float
    """Median of the level before."""
    after: float
    """Median of the new level (of a same-night alarm: that night)."""

    @property
    def shift(self) -> float:
        """Share of the level before; positive is up; infinite from zero."""
        return relative_shift(self.before, self.after)


def relative_shift(before: float, after: float) -> float:
    """`after / before - 1`, with the sign of the way it went for a level below zero too; infinite from zero."""
    if before == after:
        return 0.0
    if before == 0:
        return math.copysign(math.inf, after)
    return (after - before) / abs(before)


def change_points(values: FloatArray, *, options: Detection = Detection()) -> list[Change]:
    """The changes of level in the last `options.window` of `values`, oldest first. NotFinite for a NaN or infinity."""
    nights = _checked(values)
    first = max(0, nights.size - options.window)
    recent = nights[first:]
    floor = _noise_floor(recent, options)
    if recent.size < 2 * options.min_segment or floor == 0:
        return []
    spread = max(noise(recent), floor)
    bounds = [0, *_cuts(recent / spread, options), recent.size]
    _keep_certain(recent, bounds, spread, options)
    medians = [median(recent[start:end]) for start, end in pairwise(bounds)]
    lead = options.min_lead if first else 0
    return [
        Change(first + bound, before, after)
        for bound, (before, after) in zip(bounds[1:-1], pairwise(medians), strict=True)
        if bound >= lead
    ]


def night_alarm(values: FloatArray, limit: float = 0.10) -> Change | None:
    """The last night against the median of up to 7 nights before it, when it is off by more than `limit`.

    None too while fewer than 3 nights came before. NotFinite for a NaN or infinity.
    """
    nights = _checked(values)
    before = nights[-1 - _NIGHTS_BEFORE : -1]
    if before.size < _FEWEST_NIGHTS_BEFORE:
        return None
    change = Change(nights.size - 1, median(before), float(nights[-1]))
    return change if abs(change.shift) > limit else None


def noise(values: FloatArray) -> float:
    """Standard deviation of one night about its level, from the differences of neighbours: a step hardly counts."""
    if values.size < 2:
        return 0.0
    differences = np.diff(values)
    return _SD_PER_MAD * _mad(differences - median(differences)) / math.sqrt(2)


def median(values: FloatArray) -> float:
    """Of at least one number, none of them NaN: for a hundred numbers most of numpy's own time goes into asking."""
    ordered = np.sort(values)
    middle = ordered.size // 2
    return float(ordered[middle]) if ordered.size % 2 else float(ordered[middle - 1] + ordered[middle]) / 2


def autocorrelation(residuals: FloatArray) -> float:
    """Of each night with the next, from 0 to 0.6; of nights about their levels. Below zero is taken for none."""
    power = float(np.dot(residuals, residuals))
    if power == 0:
        return 0.0
    return min(max(float(np.dot(residuals[1:], residuals[:-1])) / power, 0.0), _MOST_AUTOCORRELATION)


def _checked(values: FloatArray) -> FloatArray:
    nights = np.asarray(values, dtype=np.float64)
    if nights.ndim != 1:
        raise ValueError(f"a series has one value a night; got an array of shape {nights.shape}")
    if not np.isfinite(nights).all():
        night = int(np.flatnonzero(~np.isfinite(nights))[0])
        raise NotFinite(f"night {night} of {nights.size} has no figure ({nights[night]}): leave such nights out")
    return nights


def _mad(residuals: FloatArray) -> float:
    return median(np.abs(residuals))


def _noise_floor(values: FloatArray, options: Detection) -> float:
    """In the values' unit; 0 only when there is nothing but zeros."""
    if not values.size:
        return 0.0
    sizes = np.abs(values)
    largest = float(sizes.max())
    size = max(median(sizes) or largest, _LEAST_LEVEL * largest)
    return _NOISE_FLOOR * max(options.min_shift, Detection.min_shift) * size


def _cuts(scaled: FloatArray, options: Detection) -> list[int]:
    """Firsts of the pieces after the first one, by optimal partition."""
    size, shortest = scaled.size, options.min_segment
    costs = _costs(scaled, options)
    best = np.full(size + 1, np.inf)
    best[0] = -options.penalty
    came_from = np.zeros(size + 1, dtype=np.intp)
    for end in range(shortest, size + 1):
        totals = best[: end - shortest + 1] + costs[end, : end - shortest + 1]
        start = int(totals.argmin())
        came_from[end] = start
        best[end] = totals[start] + options.penalty
    cuts = []
    end = size
    while (end := int(came_from[end])) > 0:
        cuts.append(end)
    return cuts[::-1]


def _costs(scaled: FloatArray, options: Detection) -> FloatArray:
    """`[end, start]`: the kernel cost of the nights from `start` up to `end`: their spread about their mean."""
    # in place where it can be: most of the time goes into these arrays of a hundred by a hundred
    alike = np.subtract.outer(scaled, scaled)
    alike *= alike
    alike *= -options.gamma
    np.exp(alike, out=alike)
    np.cumsum(alike, axis=0, out=alike)
    sums = np.zeros((scaled.size + 1, scaled.size + 1))
    np.cumsum(alike, axis=1, out=sums[1:, 1:])
    to_itself = sums.diagonal().copy()
    sums *= 2
    sums -= to_itself[:, None]
    sums -= to_itself
    lengths, inverse = _lengths(scaled.size)
    sums *= inverse
    sums += lengths
    return sums


@lru_cache(maxsize=4)
def _lengths(size: int) -> tuple[FloatArray, FloatArray]:
    """Nights from `start` up to `end`, and one divided by them, at `[end, start]`."""
    places = np.arange(size + 1, dtype=np.float64)
    lengths = places[:, None] - places
    return lengths, 1 / np.maximum(lengths, 1)


def _keep_certain(values: FloatArray, bounds: list[int], spread: float, options: Detection) -> None:
    """Takes the cuts out of `bounds` that are too small or too uncertain, the least one first."""
    while len(bounds) > 2:
        weights = _weights([values[start:end] for start, end in pairwise(bounds)], spread, options)
        least = int(np.argmin(weights))
        if weights[least] >= 1:
            return
        del bounds[1 + least]


def _weights(pieces: list[FloatArray], spread: float, options: Detection) -> list[float]:
    """Of each cut: 1 or more is large and certain enough."""
    medians = [median(piece) for piece in pieces]
    residuals = np.concatenate([piece - median for piece, median in zip(pieces, medians, strict=True)])
    # the spread from neighbours is too small where neighbours are alike
    reach = _CLIP_DEVIATIONS * max(spread, _SD_PER_MAD * _mad(residuals))
    clipped = np.clip(residuals, -reach, reach)
    alike = autocorrelation(clipped)
    # nights alike say less: of the variance of a mean of an AR(1) series
    variance = max(float(np.mean(clipped**2)), _noise_floor(np.concatenate(pieces), options) ** 2)
    variance *= (1 + alike) / (1 - alike) * (1 + _NIGHTS_OF_DOUBT / residuals.size) ** 2
    means = [
        median + float(np.mean(np.clip(piece - median, -reach, reach)))
        for piece, median in zip(pieces, medians, strict=True)
    ]
    weights = []
    for place, (before, after) in enumerate(pairwise(means)):
        error = math.sqrt(variance * (1 / pieces[place].size + 1 / pieces[place + 1].size))
        certain = abs(after - before) / error / options.min_errors if options.min_errors else math.inf
        shift = abs(relative_shift(medians[place], medians[place + 1]))
        large = shift / options.min_shift if options.min_shift else math.inf
        weights.append(min(certain, large))
    return weights

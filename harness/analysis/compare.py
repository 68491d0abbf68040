"""One metric of two sides: is the second worse, better, or the same? Pure: figures in, a judgement out.

The gate: the one-sided Mann-Whitney test at p < 0.01 *and* a Hodges-Lehmann shift of at least 2 % of A's median. Both
alone alarm too often: the test for shifts that nobody minds, the shift for noise. docs/compare.md has what it can see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.metrics import Metric, Polarity
from harness.analysis.rank_test import Method, Values, hodges_lehmann, mann_whitney, smallest_p
from harness.core.judgement import VerdictKind
from harness.core.text import percent

MAX_P = 0.01
MIN_SHIFT = 0.02
"""Share of A's median."""
MIN_TRIALS = 5
"""Of each side: with fewer, even sides that do not overlap at all can be chance."""
NOISY_SHIFT = 0.10
"""Where even a shift of this size would likely be missed, `same` says nothing."""

_POWER_Z = 2.326 + 0.842
"""Quantiles of the normal distribution: 1 - MAX_P, and 80 % for the chance to see the shift."""
_EFFICIENCY = 3 / math.pi
"""Of the Mann-Whitney test against Student's on normal noise."""
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Comparison:
    """One metric of A and B; figures in the metric's unit, shifts as shares of A's median (+0.05: 5 % more)."""

    metric: Metric
    verdict: VerdictKind
    words: str
    """Why, in one line; empty where the figures say it all."""
    a_count: int
    b_count: int
    a_median: float | None = None
    b_median: float | None = None
    shift: float | None = None
    interval: tuple[float, float] | None = None
    """Of the shift, 95 %."""
    p_worse: float | None = None
    p_better: float | None = None
    method: Method | None = None
    detectable_shift: float | None = None
    """About the smallest shift that such a comparison would see four times in five."""

    @property
    def p(self) -> float | None:
        """Of the direction in which B lies."""
        if self.p_worse is None or self.p_better is None:
            return None
        return min(self.p_worse, self.p_better)


def judge(a: Values, b: Values, metric: Metric) -> Comparison:
    """B against A, by themselves; both sides without what was not measured. Raises ValueError for NaN and infinity."""
    return judge_together([(a, b, metric)])[0]


def judge_together(pairs: Sequence[tuple[Values, Values, Metric]]) -> list[Comparison]:
    """Several figures of one comparison, in the same order.

    The chance of *any* false alarm is held to what one figure alone would have (Holm): the smallest p must be below
    MAX_P / n, the next below MAX_P / (n - 1), and so on, where n counts the figures that can be judged. A figure so
    quiet that chance all but never shifts it by MIN_SHIFT, as memory mostly is, is judged alone and not counted: the
    size of its shift guards it already.
    """
    found = [_measured(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), of) for a, b, of in pairs]
    judged = [index for index, one in enumerate(found) if one.p_worse is not None]
    quiet = [[index] for index in judged if found[index].detectable_shift == MIN_SHIFT]
    loud = [index for index in judged if [index] not in quiet]
    for family in [*quiet, loud]:
        _judge_family(found, family)
    return found


def _judge_family(found: list[Comparison], family: Sequence[int]) -> None:
    """Puts the verdicts of the figures at these places into `found`."""
    for direction in (VerdictKind.REGRESSED, VerdictKind.IMPROVED):
        ranked = sorted(family, key=lambda index: _p_of(found[index], direction))
        for place, index in enumerate(ranked):
            if _p_of(found[index], direction) >= MAX_P / (len(family) - place):
                break
            found[index] = _shifted(found[index], direction)
    for index in family:
        if found[index].verdict is VerdictKind.SAME:
            found[index] = _not_shifted(found[index], len(family))


def _measured(a: Values, b: Values, metric: Metric) -> Comparison:
    """The figures, with the verdict `same` where there is enough to judge by."""
    if not a.size or not b.size:
        sides = " and ".join(name for name, side in (("A", a), ("B", b)) if not side.size)
        return Comparison(metric, VerdictKind.MISSING, f"{sides} without this figure", a.size, b.size)
    medians = float(np.median(a)), float(np.median(b))
    bare = Comparison(metric, VerdictKind.INCOMPARABLE, "", a.size, b.size, *medians)
    if min(a.size, b.size) < MIN_TRIALS:
        return replace(bare, words=f"{a.size} and {b.size} trials with this figure, {MIN_TRIALS} a side are needed")
    if medians[0] <= 0:
        return replace(bare, words="A's median is not above zero, so no shift is a share of it")
    higher, lower = mann_whitney(b, a, "greater"), mann_whitney(b, a, "less")
    worse, better = (higher, lower) if metric.polarity is Polarity.LOWER_IS_BETTER else (lower, higher)
    shift = hodges_lehmann(a, b)
    ends = shift.interval
    return replace(
        bare,
        verdict=VerdictKind.SAME,
        shift=shift.value / medians[0],
        interval=None if ends is None else (ends[0] / medians[0], ends[1] / medians[0]),
        p_worse=worse.p,
        p_better=better.p,
        method=worse.method,
        detectable_shift=_detectable(a, b, medians[0]),
    )


def _p_of(one: Comparison, direction: VerdictKind) -> float:
    p = one.p_worse if direction is VerdictKind.REGRESSED else one.p_better
    assert p is not None, "only what can be judged is"
    return p


def _shifted(one: Comparison, direction: VerdictKind) -> Comparison:
    """Beyond chance; whether anybody minds is a matter of size."""
    assert one.shift is not None, "only what can be judged is"
    if abs(one.shift) < MIN_SHIFT:
        return replace(one, words=f"a real shift, but below {percent(MIN_SHIFT, 0)}")
    return replace(one, verdict=direction)


def _not_shifted(one: Comparison, family: int) -> Comparison:
    if one.words:
        return one
    least_p = smallest_p(one.a_count, one.b_count)
    if least_p >= MAX_P / family:
        words = f"{one.a_count} and {one.b_count} trials cannot tell any shift from chance among {family} figures"
        return replace(one, verdict=VerdictKind.NOISY, words=words)
    assert one.detectable_shift is not None, "what can be judged has it"
    seen = f"a shift of {percent(one.detectable_shift)} would have been seen"
    if one.detectable_shift > NOISY_SHIFT:
        return replace(one, verdict=VerdictKind.NOISY, words=f"only {seen}: take more trials, or a quieter host")
    return replace(one, words=seen)


def _detectable(a: Values, b: Values, a_median: float) -> float:
    """The noise by the deviations from each side's own median: outliers weigh little, the shift itself nothing."""
    deviations = np.concatenate([np.abs(a - np.median(a)), np.abs(b - np.median(b))])
    sigma = _MAD_TO_SIGMA * float(np.median(deviations)) / a_median
    return max(MIN_SHIFT, _POWER_Z * sigma * math.sqrt((1 / a.size + 1 / b.size) / _EFFICIENCY))

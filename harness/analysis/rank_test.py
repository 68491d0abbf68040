"""Two samples by their ranks: the one-sided Mann-Whitney test and the Hodges-Lehmann shift with its interval.

Pure; numpy only. Up to MAX_EXACT values in all the test is exact, ties included: the distribution of the rank sum over
all ways to deal the pooled values to the two sides. Beyond, it is normal, with corrections for ties and continuity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Alternative = Literal["greater", "less"]

MAX_EXACT = 60
"""Values of both sides together: a rank sum's distribution is then at most 3660 numbers, counted in milliseconds."""
CONFIDENCE = 0.95
_Z_OF_INTERVAL = 1.959964
"""Standard deviations on each side that hold CONFIDENCE of a normal distribution."""


class Method(StrEnum):
    EXACT = "exact"
    NORMAL = "normal"


@dataclass(frozen=True)
class RankTest:
    p: float
    """Of a difference at least this large in the asked direction, if there is none."""
    method: Method


@dataclass(frozen=True)
class Shift:
    """How far the second sample lies above the first, in the samples' unit."""

    value: float
    interval: tuple[float, float] | None
    """Holds the true shift in at least CONFIDENCE of all cases; None: too few values for one."""


def mann_whitney(a: Values, b: Values, alternative: Alternative) -> RankTest:
    """Whether `a` tends to be greater (less) than `b`. Raises ValueError for an empty or non-finite sample."""
    a, b = _checked(a), _checked(b)
    if alternative == "less":
        return mann_whitney(b, a, "greater")
    # twice the mid-rank is a whole number, so that ties can be counted exactly
    ranks = _doubled_ranks(np.concatenate([a, b]))
    rank_sum = int(ranks[: len(a)].sum())
    if len(ranks) <= MAX_EXACT:
        ways = _rank_sums(tuple(sorted(ranks.tolist())), len(a))
        return RankTest(float(ways[rank_sum:].sum() / ways.sum()), Method.EXACT)
    return RankTest(_normal_p(ranks, rank_sum, len(a)), Method.NORMAL)


def hodges_lehmann(a: Values, b: Values) -> Shift:
    """The median of all differences `b - a`. Raises ValueError for an empty or non-finite sample."""
    a, b = _checked(a), _checked(b)
    differences = np.sort(np.subtract.outer(b, a), axis=None)
    outside = _outside(len(a), len(b))
    interval = None
    if outside:
        interval = (float(differences[outside - 1]), float(differences[-outside]))
    return Shift(float(np.median(differences)), interval)


def smallest_p(a_count: int, b_count: int) -> float:
    """The p of two samples that do not overlap at all: no test of these sizes can give less."""
    return 1 / math.comb(a_count + b_count, a_count)


def _checked(values: Values) -> Values:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError("a sample is one row of finite numbers, at least one; leave out what was not measured")
    return values


def _doubled_ranks(values: Values) -> NDArray[np.int64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (2 * last - counts + 1)[place].astype(np.int64)


@lru_cache(maxsize=256)
def _rank_sums(ranks: tuple[int, ...], count: int) -> Values:
    """In how many ways `count` of the ranks have each sum; index: the sum."""
    ways = np.zeros((count + 1, sum(ranks) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        # the right side is computed before it is added: a rank is dealt once
        ways[1:, rank:] = ways[1:, rank:] + ways[:-1, : ways.shape[1] - rank]
    sums: Values = ways[count]
    return sums


def _normal_p(ranks: NDArray[np.int64], rank_sum: int, count: int) -> float:
    total = len(ranks)
    other = total - count
    _, ties = np.unique(ranks, return_counts=True)
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1))
    deviation = math.sqrt(count * other / 12 * (total + 1 - tied))
    if not deviation:
        # all values are the same
        return 1.0
    u = rank_sum / 2 - count * (count + 1) / 2
    z = (u - count * other / 2 - 0.5) / deviation
    return math.erfc(z / math.sqrt(2)) / 2


@lru_cache(maxsize=256)
def _outside(a_count: int, b_count: int) -> int:
    """How many of the sorted differences lie below the interval's lower end, plus one; 0: it has no end."""
    tail = (1 - CONFIDENCE) / 2
    if a_count + b_count <= MAX_EXACT:
        ranks = tuple(range(2, 2 * (a_count + b_count) + 1, 2))
        ways = _rank_sums(ranks, a_count)[a_count * (a_count + 1) :: 2]
        return int(np.searchsorted(np.cumsum(ways) / ways.sum(), tail, side="right"))
    deviation = math.sqrt(a_count * b_count * (a_count + b_count + 1) / 12)
    return max(0, math.floor(a_count * b_count / 2 - _Z_OF_INTERVAL * deviation))

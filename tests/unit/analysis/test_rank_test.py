"""The rank test and the shift against SciPy's, which knows them by other ways."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from harness.analysis.rank_test import MAX_EXACT, Method, hodges_lehmann, mann_whitney, smallest_p

stats: Any = pytest.importorskip("scipy.stats", reason="the foreign oracle is not installed")


@pytest.mark.parametrize(("a_count", "b_count"), [(1, 1), (2, 5), (5, 5), (10, 10), (7, 20), (30, 30)])
@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_without_ties_it_is_the_exact_test(a_count: int, b_count: int, alternative: Any) -> None:
    dice = np.random.default_rng(a_count * 100 + b_count)
    a, b = dice.normal(size=a_count), dice.normal(0.3, size=b_count)
    ours = mann_whitney(a, b, alternative)
    theirs = stats.mannwhitneyu(a, b, alternative=alternative, method="exact")
    assert ours.method is Method.EXACT
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_with_ties_it_is_the_share_of_all_deals(alternative: Any) -> None:
    a, b = np.array([1.0, 2, 2, 3, 3]), np.array([2.0, 3, 3, 3, 4])
    pooled = np.concatenate([a, b])
    ranks = stats.rankdata(pooled)
    seen = ranks[: len(a)].sum()
    sums = [ranks[list(chosen)].sum() for chosen in combinations(range(len(pooled)), len(a))]
    beyond = [one >= seen - 1e-9 if alternative == "greater" else one <= seen + 1e-9 for one in sums]
    assert mann_whitney(a, b, alternative).p == pytest.approx(np.mean(beyond))


def test_many_values_get_the_normal_test_with_ties_corrected() -> None:
    dice = np.random.default_rng(5)
    a, b = np.round(dice.normal(10, 2, 80)), np.round(dice.normal(10.5, 2, MAX_EXACT))
    for alternative in ("greater", "less"):
        ours = mann_whitney(a, b, alternative)
        theirs = stats.mannwhitneyu(a, b, alternative=alternative, method="asymptotic")
        assert ours.method is Method.NORMAL
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_the_exact_and_the_normal_test_agree_where_they_meet() -> None:
    dice = np.random.default_rng(6)
    a, b = dice.normal(size=MAX_EXACT // 2), dice.normal(0.5, size=MAX_EXACT // 2)
    theirs = stats.mannwhitneyu(b, a, alternative="greater", method="asymptotic").pvalue
    assert mann_whitney(b, a, "greater").p == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize("count", [3, 30, MAX_EXACT])
def test_equal_values_are_no_difference(count: int) -> None:
    same = np.full(count, 7.0)
    assert mann_whitney(same, same, "greater").p == pytest.approx(1.0)
    shift = hodges_lehmann(same, same)
    assert shift.value == 0.0
    assert shift.interval in (None, (0.0, 0.0))


@pytest.mark.parametrize(("a_count", "b_count"), [(5, 5), (10, 10)])
def test_the_smallest_p_is_that_of_sides_that_do_not_overlap(a_count: int, b_count: int) -> None:
    a, b = np.arange(a_count, dtype=float), np.arange(b_count, dtype=float) + 100
    assert mann_whitney(b, a, "greater").p == pytest.approx(smallest_p(a_count, b_count))


def test_the_shift_is_the_median_difference() -> None:
    a, b = np.array([1.0, 2, 4]), np.array([11.0, 13])
    differences = [11 - 1, 11 - 2, 11 - 4, 13 - 1, 13 - 2, 13 - 4]
    assert hodges_lehmann(a, b).value == np.median(differences)


def test_an_interval_of_five_and_five_leaves_out_two_at_each_end() -> None:
    # the table of the Mann-Whitney test says U <= 2 at 2.5 % for five and five
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([1.1, 2.3, 3.7, 4.9, 6.2])
    differences = np.sort(np.subtract.outer(b, a), axis=None)
    assert hodges_lehmann(a, b).interval == (differences[2], differences[-3])


def test_too_few_values_have_no_interval() -> None:
    assert hodges_lehmann(np.array([1.0, 2, 3]), np.array([4.0, 5, 6])).interval is None


@pytest.mark.parametrize("count", [5, 10, 40])
def test_the_interval_holds_the_true_shift_as_often_as_it_says(count: int) -> None:
    dice = np.random.default_rng(count)
    held = 0
    for _ in range(400):
        low, high = hodges_lehmann(dice.normal(size=count), dice.normal(0.7, size=count)).interval or (math.inf, 0)
        held += low <= 0.7 <= high
    # 95 % and a little more; 400 tries scatter by 1.1 %
    assert held >= 0.92 * 400


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf, 1.0]])
def test_what_was_not_measured_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mann_whitney(np.array(bad), np.array([1.0]), "less")
    with pytest.raises(ValueError, match="finite"):
        hodges_lehmann(np.array([1.0]), np.array(bad))

"""One figure of two sides: regressed, improved, the same, or not to be told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.analysis.compare import MIN_TRIALS, judge, judge_together
from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.judgement import VerdictKind

LOAD, RATE = METRIC_BY_NAME["load_ns"], METRIC_BY_NAME["decode_tokens_per_s"]


def scattered(level: float, share: float = 0.01, count: int = 10, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(level, level * share, count)


def test_more_time_is_worse_and_a_higher_rate_is_better() -> None:
    a, b = scattered(100), scattered(110, seed=2)
    assert judge(a, b, LOAD).verdict is VerdictKind.REGRESSED
    assert judge(b, a, LOAD).verdict is VerdictKind.IMPROVED
    assert judge(a, b, RATE).verdict is VerdictKind.IMPROVED
    assert judge(b, a, RATE).verdict is VerdictKind.REGRESSED


def test_the_shift_is_a_share_of_a() -> None:
    found = judge(scattered(200, 0.0), scattered(210, 0.0), LOAD)
    assert found.shift == pytest.approx(0.05)
    assert found.interval == pytest.approx((0.05, 0.05))
    assert found.verdict is VerdictKind.REGRESSED


def test_a_real_but_small_shift_is_no_regression() -> None:
    found = judge(scattered(100, 0.001), scattered(101, 0.001, seed=2), LOAD)
    assert found.p_worse is not None
    assert found.p_worse < 0.001
    assert found.verdict is VerdictKind.SAME
    assert "below 2 %" in found.words


def test_the_same_says_what_would_have_been_seen() -> None:
    found = judge(scattered(100, 0.03), scattered(100, 0.03, seed=2), LOAD)
    assert found.verdict is VerdictKind.SAME
    assert found.detectable_shift is not None
    assert 0.02 <= found.detectable_shift < 0.08
    assert "would have been seen" in found.words


def test_much_noise_is_said_instead_of_the_same() -> None:
    found = judge(scattered(100, 0.3), scattered(100, 0.3, seed=2), LOAD)
    assert found.verdict is VerdictKind.NOISY


def test_few_trials_are_no_comparison() -> None:
    enough, few = scattered(100, count=MIN_TRIALS), scattered(200, count=MIN_TRIALS - 1)
    assert judge(enough, few, LOAD).verdict is VerdictKind.INCOMPARABLE
    assert judge(few, enough, LOAD).verdict is VerdictKind.INCOMPARABLE
    assert judge(enough, scattered(200, count=MIN_TRIALS), LOAD).verdict is VerdictKind.REGRESSED


def test_a_figure_that_nobody_took_stays_missing() -> None:
    nothing: NDArray[np.float64] = np.array([])
    found = judge(scattered(100), nothing, LOAD)
    assert (found.verdict, found.shift, found.b_median) == (VerdictKind.MISSING, None, None)
    assert "B" in found.words


def test_no_share_of_nothing() -> None:
    assert judge(np.zeros(10), scattered(5), LOAD).verdict is VerdictKind.INCOMPARABLE


def test_nothing_is_guessed_of_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        judge(np.array([1.0, 2, 3, 4, np.nan]), scattered(5), LOAD)


def test_of_many_figures_one_must_be_surer() -> None:
    # alone its p of about 0.005 is enough; among twenty it is what chance brings
    a = np.array([100.0, 101, 102, 103, 104, 105, 106, 107, 108, 109])
    b = a + 5.2
    others = scattered(100, 0.05), scattered(100, 0.05, seed=2), LOAD
    assert judge(a, b, LOAD).verdict is VerdictKind.REGRESSED
    together = judge_together([(a, b, LOAD), *[others] * 19])
    assert together[0].verdict is not VerdictKind.REGRESSED
    clear = judge_together([(a, a * 1.5, LOAD), *[others] * 19])
    assert clear[0].verdict is VerdictKind.REGRESSED


def test_too_few_trials_for_so_many_figures_is_said() -> None:
    pair = scattered(100, 0.1, count=5), scattered(200, 0.1, count=5), LOAD
    assert judge_together([pair])[0].verdict is VerdictKind.REGRESSED
    of_four = judge_together([pair] * 4)
    assert {one.verdict for one in of_four} == {VerdictKind.NOISY}
    assert "cannot tell any shift from chance" in of_four[0].words


def test_a_quiet_figure_is_seen_with_few_trials_among_many_others() -> None:
    quiet = scattered(100, 0.001, count=5), scattered(105, 0.001, count=5), LOAD
    others = scattered(100, 0.1, count=5), scattered(100, 0.1, count=5, seed=2), LOAD
    found = judge_together([quiet, *[others] * 19])
    assert found[0].verdict is VerdictKind.REGRESSED
    assert VerdictKind.REGRESSED not in {one.verdict for one in found[1:]}


def test_false_alarms_and_power_are_as_documented() -> None:
    dice = np.random.default_rng(7)
    alarms = found = 0
    for _ in range(500):
        a, b = dice.normal(1, 0.03, 10), dice.normal(1, 0.03, 10)
        alarms += judge(a, b, LOAD).verdict is VerdictKind.REGRESSED
        found += judge(a, b * 1.05, LOAD).verdict is VerdictKind.REGRESSED
    assert alarms <= 8
    assert found >= 0.75 * 500

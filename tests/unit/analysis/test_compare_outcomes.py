"""How trials ended, compared: what loaded and now dies is told before any figure."""

from __future__ import annotations

import pytest

from harness.analysis.compare_outcomes import judge_outcomes
from harness.core.judgement import VerdictKind


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ({"loaded": 10}, {"loaded": 10}, VerdictKind.SAME),
        ({"loaded": 10}, {"bad_alloc": 10}, VerdictKind.REGRESSED),
        ({"loaded": 2}, {"bad_alloc": 2}, VerdictKind.REGRESSED),
        ({"loaded": 1}, {"bad_alloc": 1}, VerdictKind.NOISY),
        ({"jetsam": 5}, {"loaded": 5}, VerdictKind.IMPROVED),
        ({"loaded": 10}, {"loaded": 9, "jetsam": 1}, VerdictKind.NOISY),
        ({"loaded": 10}, {"loaded": 3, "jetsam": 7}, VerdictKind.REGRESSED),
        ({"loaded": 3, "jetsam": 7}, {"loaded": 10}, VerdictKind.IMPROVED),
        ({"loaded": 10}, {"loaded": 20}, VerdictKind.SAME),
        ({"loaded": 10}, {"fell_back": 10}, VerdictKind.REGRESSED),
        ({"bad_alloc": 5}, {"jetsam": 5}, VerdictKind.SAME),
        ({"loaded": 5}, {"lost": 5}, VerdictKind.INCOMPARABLE),
        ({"loaded": 5}, {}, VerdictKind.INCOMPARABLE),
        # a cable that broke says nothing about the model
        ({"loaded": 10}, {"loaded": 9, "lost": 1}, VerdictKind.SAME),
    ],
)
def test_verdicts(a: dict[str, int], b: dict[str, int], verdict: VerdictKind) -> None:
    assert judge_outcomes(a, b).verdict is verdict


def test_the_chance_is_fishers() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the foreign oracle is not installed")
    found = judge_outcomes({"loaded": 8, "jetsam": 2}, {"loaded": 3, "jetsam": 9})
    theirs = stats.fisher_exact([[3, 9], [8, 2]], alternative="less")
    assert found.p == pytest.approx(theirs.pvalue)


def test_another_death_is_told() -> None:
    assert judge_outcomes({"bad_alloc": 5}, {"jetsam": 5}).words == "another end: 5 × bad_alloc → 5 × jetsam"

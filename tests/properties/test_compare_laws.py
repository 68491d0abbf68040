"""What must hold of any two samples: mirrored sides, other units, and any order of the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.compare import judge
from harness.analysis.metrics import METRIC_BY_NAME
from harness.analysis.rank_test import hodges_lehmann, mann_whitney
from harness.core.judgement import VerdictKind

LOAD = METRIC_BY_NAME["load_ns"]
# whole numbers: ties are common, and sums are exact
samples = st.lists(st.integers(1, 60), min_size=1, max_size=12).map(lambda values: np.array(values, dtype=np.float64))
MIRRORED = {VerdictKind.REGRESSED: VerdictKind.IMPROVED, VerdictKind.IMPROVED: VerdictKind.REGRESSED}


@given(samples, samples)
def test_mirrored_sides_give_the_mirrored_answer(a: np.ndarray, b: np.ndarray) -> None:
    assert mann_whitney(a, b, "greater") == mann_whitney(b, a, "less")
    there, back = hodges_lehmann(a, b), hodges_lehmann(b, a)
    assert there.value == -back.value
    assert (there.interval is None) == (back.interval is None)
    if there.interval is not None and back.interval is not None:
        assert there.interval == (-back.interval[1], -back.interval[0])


@given(samples, samples)
def test_the_two_directions_cover_everything(a: np.ndarray, b: np.ndarray) -> None:
    p, q = mann_whitney(a, b, "greater").p, mann_whitney(a, b, "less").p
    assert 0 < p <= 1 + 1e-12
    # what is exactly as seen belongs to both
    assert p + q >= 1 - 1e-12


@given(samples, samples, st.sampled_from([0.5, 4.0, 1024.0]))
def test_the_unit_does_not_matter(a: np.ndarray, b: np.ndarray, scale: float) -> None:
    one, other = judge(a, b, LOAD), judge(a * scale, b * scale, LOAD)
    assert one.verdict is other.verdict
    assert one.p_worse == other.p_worse
    if one.shift is not None:
        assert other.shift == pytest.approx(one.shift)


@given(samples, samples, st.randoms(use_true_random=False))
def test_the_order_of_the_trials_does_not_matter(a: np.ndarray, b: np.ndarray, dice: object) -> None:
    shuffled = a.tolist()
    dice.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands a random.Random, typed as an object here
    assert judge(a, b, LOAD) == judge(np.array(shuffled), b, LOAD)


@given(samples, samples)
def test_a_verdict_is_mirrored_where_the_shares_are_clear(a: np.ndarray, b: np.ndarray) -> None:
    # the share is of the other side's median, so only near the 2 % may the two differ
    there, back = judge(a, b, LOAD), judge(b, a, LOAD)
    shifts = [abs(one.shift) for one in (there, back) if one.shift is not None]
    if len(shifts) == 2 and min(shifts) > 0.02 and there.verdict in MIRRORED:
        assert back.verdict is MIRRORED[there.verdict]


@given(samples)
def test_nothing_differs_from_itself(a: np.ndarray) -> None:
    assert judge(a, a, LOAD).verdict not in MIRRORED

"""The bisection behind `harness fit`: finds the boundary of any monotone predicate, with few values, and never lies."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.fit import Bisection, FitResult, most_values, share_at_least

Values = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=300, unique=True).map(sorted)


def play(bisection: Bisection, answers: st.DataObject | None = None, boundary: int = 0) -> FitResult:
    """To the end; each answer is drawn, or follows from the boundary (what is below it works)."""
    for _ in range(10_000):
        value = bisection.next_value()
        if value is None:
            result = bisection.result
            assert result is not None
            return result
        assert bisection.result is None
        assert bisection.next_value() == value, "asking changes nothing"
        bisection.note(value, value < boundary if answers is None else answers.draw(st.booleans()))
    raise AssertionError("it does not come to an end")


@given(values=Values, boundary=st.integers(-1, 1 << 41), repeats=st.integers(1, 7))
def test_the_boundary_of_any_monotone_predicate_is_found(values: list[int], boundary: int, repeats: int) -> None:
    result = play(Bisection(values, repeats), boundary=boundary)
    works = [value for value in values if value < boundary]
    fails = [value for value in values if value >= boundary]
    assert (result.best.value if result.best else None) == (works[-1] if works else None)
    assert (result.next_larger.value if result.next_larger else None) == (fails[0] if fails else None)
    assert len(result.tallies) <= most_values(len(values)) == 1 + math.ceil(math.log2(len(values)))
    assert result.contradictions == ()
    for rests_on in filter(None, (result.best, result.next_larger)):
        assert rests_on.trials == repeats, "what the answer rests on is tried in full"
    if works == values:
        assert len(result.tallies) == 1, "the largest is tried first"


@given(values=Values, repeats=st.integers(1, 7), answers=st.data())
def test_whatever_the_answers_it_ends_within_its_bounds(
    values: list[int], repeats: int, answers: st.DataObject
) -> None:
    result = play(Bisection(values, repeats), answers)
    assert len(result.tallies) <= most_values(len(values))
    for tally in result.tallies:
        assert 2 * tally.worked > repeats or 2 * (tally.trials - tally.worked) >= repeats, "more trials change nothing"
        assert tally.trials <= repeats
    tried = {tally.value: tally for tally in result.tallies}
    if result.best is not None:
        assert 2 * result.best.worked > repeats
    if result.next_larger is not None:
        assert 2 * result.next_larger.worked <= repeats
        places = {value: place for place, value in enumerate(values)}
        before = -1 if result.best is None else places[result.best.value]
        assert places[result.next_larger.value] == before + 1, "they are neighbours"
    else:
        assert result.best is not None
        assert result.best.value == values[-1]
    seen = {
        (small, large)
        for small in tried
        for large in tried
        if small < large and tried[small].worked < tried[small].trials and tried[large].worked
    }
    assert {(one.smaller.value, one.larger.value) for one in result.contradictions} == seen


def test_a_value_is_left_as_soon_as_it_is_decided() -> None:
    bisection = Bisection([1, 2, 3, 4], repeats=3)
    for value, worked in [(4, False), (4, False), (2, True), (2, True), (3, False), (3, True), (3, False)]:
        assert bisection.next_value() == value
        bisection.note(value, worked)
    # the answer rests on 2 and 3; of 2 a trial is still missing
    assert bisection.next_value() == 2
    bisection.note(2, True)
    result = bisection.result
    assert result is not None
    assert [(tally.value, tally.worked, tally.trials) for tally in result.tallies] == [(2, 3, 3), (3, 1, 3), (4, 0, 2)]


def test_a_larger_value_that_works_once_contradicts_a_smaller_one_that_failed() -> None:
    bisection = Bisection([1, 2], repeats=3)
    for value, worked in [(2, True), (2, False), (2, False), (1, False), (1, False), (1, False)]:
        bisection.note(value, worked)
    result = bisection.result
    assert result is not None
    assert result.best is None
    assert [(one.smaller.value, one.larger.value) for one in result.contradictions] == [(1, 2)]


def test_only_the_trial_that_was_asked_for_is_taken() -> None:
    bisection = Bisection([1, 2, 3])
    with pytest.raises(ValueError, match="no trial of 1"):
        bisection.note(1, worked=True)
    bisection.note(3, worked=True)
    with pytest.raises(ValueError, match="no trial of 3"):
        bisection.note(3, worked=True)


@pytest.mark.parametrize(("values", "repeats"), [([], 1), ([2, 1], 1), ([1, 1], 1), ([1], 0)])
def test_what_cannot_be_bisected_is_refused(values: list[int], repeats: int) -> None:
    with pytest.raises(ValueError, match="a bisection needs"):
        Bisection(values, repeats)


@pytest.mark.parametrize(
    ("worked", "trials", "bound"),
    # all of n: 0.05 ** (1 / n); the others from published tables of the exact binomial bound
    [(3, 3, 0.05 ** (1 / 3)), (10, 10, 0.05**0.1), (0, 3, 0.0), (2, 3, 0.1354), (9, 10, 0.6058)],
)
def test_the_lower_bound_is_the_exact_binomial_one(worked: int, trials: int, bound: float) -> None:
    assert share_at_least(worked, trials) == pytest.approx(bound, abs=1e-4)


@given(trials=st.integers(1, 40), data=st.data())
def test_the_lower_bound_is_below_what_was_seen(trials: int, data: st.DataObject) -> None:
    worked = data.draw(st.integers(0, trials))
    assert 0 <= share_at_least(worked, trials) <= worked / trials

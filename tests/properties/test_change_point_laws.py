"""What holds of change points whatever the series."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.analysis.change_points import Detection, FloatArray, change_points, night_alarm

SIZES = st.floats(-1e15, 1e15, allow_nan=False, allow_infinity=False)
SERIES = st.lists(SIZES, max_size=140).map(lambda values: np.array(values, dtype=np.float64))
LEVELS = st.lists(st.tuples(st.integers(3, 25), st.floats(0.7, 1.5)), min_size=1, max_size=4)
"""Nights, and the level of them."""


@st.composite
def stepped(draw: st.DrawFn) -> FloatArray:
    """Levels with noise."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level = np.concatenate([np.full(nights, 100 * level) for nights, level in draw(LEVELS)])
    values: FloatArray = level * (1 + draw(st.floats(0.001, 0.05)) * random.standard_normal(level.size))
    return values


@given(SERIES)
def test_any_finite_series_has_an_answer_that_keeps_the_rules(values: FloatArray) -> None:
    options = Detection()
    found = change_points(values)
    bounds = [max(0, values.size - options.window), *(change.index for change in found), values.size]
    assert all(end - start >= options.min_segment for start, end in pairwise(bounds)) or not found
    assert all(abs(change.shift) >= options.min_shift for change in found)


@given(SERIES)
def test_the_same_night_alarm_is_about_the_last_night(values: FloatArray) -> None:
    change = night_alarm(values)
    if change is not None:
        assert change.index == values.size - 1
        assert change.after == values[-1]
        assert abs(change.shift) > 0.10


@given(stepped(), st.integers(-40, 40))
def test_the_unit_does_not_matter(values: FloatArray, exponent: int) -> None:
    # powers of two: nothing is rounded
    scale = 2.0**exponent
    assert [change.index for change in change_points(values * scale)] == [c.index for c in change_points(values)]


@given(stepped())
def test_upside_down_the_changes_are_the_same(values: FloatArray) -> None:
    assert [(c.index, -c.shift) for c in change_points(-values)] == [(c.index, c.shift) for c in change_points(values)]


@given(stepped())
def test_backwards_the_changes_are_mirrored(values: FloatArray) -> None:
    # a shift is a share of the level before, which is another one backwards
    options = Detection(min_shift=0)
    assume(values.size <= options.window)
    mirrored = [values.size - change.index for change in change_points(values[::-1], options=options)]
    assert mirrored[::-1] == [change.index for change in change_points(values, options=options)]


@given(stepped(), st.integers(0, 200), st.floats(-1e6, 1e6))
def test_one_wild_night_makes_no_change_of_its_own(values: FloatArray, place: int, wild: float) -> None:
    flat = np.full(values.size, 100.0)
    assume(flat.size)
    flat[place % flat.size] = wild
    assert change_points(flat) == []

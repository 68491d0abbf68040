"""Levels that change and levels that do not, from small series."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.change_points import (
    Detection,
    FloatArray,
    NotFinite,
    autocorrelation,
    change_points,
    median,
    night_alarm,
    noise,
)


def noisy(nights: int, seed: int = 1, deviation: float = 0.02) -> FloatArray:
    """About 100."""
    values: FloatArray = 100 * (1 + deviation * np.random.default_rng(seed).standard_normal(nights))
    return values


def stepped(nights: int, place: int, factor: float, seed: int = 1) -> FloatArray:
    values = noisy(nights, seed)
    values[place:] *= factor
    return values


def places(values: FloatArray, options: Detection | None = None) -> list[int]:
    return [change.index for change in change_points(values, options=options or Detection())]


def test_a_step_is_one_change_with_both_levels() -> None:
    (change,) = change_points(stepped(80, 50, 1.10))
    assert abs(change.index - 50) <= 1
    assert change.before == pytest.approx(100, rel=0.01)
    assert change.after == pytest.approx(110, rel=0.01)
    assert change.shift == pytest.approx(0.10, abs=0.02)


def test_a_drop_has_a_negative_shift() -> None:
    (change,) = change_points(stepped(80, 50, 0.9))
    assert change.shift == pytest.approx(-0.10, abs=0.02)


def test_there_and_back_are_two_changes() -> None:
    values = noisy(100)
    values[40:70] *= 1.10
    first, second = change_points(values)
    assert abs(first.index - 40) <= 1
    assert abs(second.index - 70) <= 1
    assert first.shift > 0 > second.shift


def test_noise_alone_is_no_change() -> None:
    assert [seed for seed in range(40) if places(noisy(100, seed))] == []


@pytest.mark.parametrize("value", [0.0, 100.0, -5.0, 1e12])
def test_a_constant_series_has_no_change(value: float) -> None:
    assert places(np.full(60, value)) == []


@pytest.mark.parametrize(("before", "after"), [(100.0, 103.0), (103.0, 100.0), (-100.0, -90.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_step_between_constant_levels_is_found_where_it_is(before: float, after: float) -> None:
    values = np.array([before] * 20 + [after] * 10)
    (change,) = change_points(values)
    assert (change.index, change.before, change.after) == (20, before, after)
    assert (change.shift > 0) == (after > before)


def test_a_shift_from_zero_is_infinite() -> None:
    (change,) = change_points(np.array([0.0] * 20 + [1.0] * 10))
    assert change.shift == math.inf


def test_constant_levels_less_than_the_smallest_shift_apart_are_one() -> None:
    assert places(np.array([100.0] * 30 + [101.9] * 30)) == []
    assert places(np.array([100.0] * 30 + [102.1] * 30)) == [30]


def test_drift_in_small_steps_is_told_once_it_adds_up() -> None:
    values = np.repeat([100.0, 101.5, 103.0, 104.5], 25)
    found = change_points(values)
    assert found
    assert all(change.shift >= 0.02 for change in found)


def test_a_wild_night_is_no_change() -> None:
    for place in (0, 1, 30, 58, 59):
        values = noisy(60)
        values[place] *= 3
        assert places(values) == []


def test_two_wild_nights_are_no_level() -> None:
    values = np.full(60, 100.0)
    values[58:] = 150
    assert places(values) == []


def test_three_nights_of_a_new_level_are_one() -> None:
    values = np.full(60, 100.0)
    values[57:] = 110
    assert places(values) == [57]


def test_longer_segments_can_be_asked_for() -> None:
    values = np.full(60, 100.0)
    values[57:] = 110
    # the three new nights and one old one
    assert places(values, Detection(min_segment=4)) == [56]


def test_zeros_among_numbers_near_zero_are_no_trouble() -> None:
    assert places(np.array([0.0, 0, 0, 1, 1, 1e-194])) == []
    assert places(np.array([0.0, 0, 0, 5e-324, 5e-324, 5e-324])) == []


def test_too_few_nights_say_nothing() -> None:
    assert places(np.array([])) == []
    assert places(np.array([100.0, 100, 200, 200, 200])) == []


def test_what_came_before_the_window_is_not_looked_at() -> None:
    values = stepped(200, 60, 1.10)
    assert places(values) == []
    assert places(values, Detection(window=200)) == [60]


def test_a_change_that_leaves_the_window_is_let_go_before_its_old_level_is_too_short() -> None:
    values = stepped(170, 60, 1.10)
    assert places(values[:160]) == [60]
    assert places(values[:161]) == []
    assert places(values[:161], Detection(min_lead=0)) == [60]


def test_the_place_counts_from_the_first_value_handed_in() -> None:
    assert places(stepped(200, 150, 1.10)) == [150]


def test_nights_that_follow_one_another_are_less_certain() -> None:
    """A slow swing looks like levels, unless one asks how alike neighbours are."""
    told = careful = 0
    for seed in range(30):
        values = np.random.default_rng(seed).standard_normal(120)
        for night in range(1, values.size):
            values[night] += 0.7 * values[night - 1]
        series = 100 * (1 + 0.02 * values)
        told += bool(places(series, Detection(min_errors=0)))
        careful += bool(places(series))
    assert careful < told / 2


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_night_without_a_figure_is_refused_by_its_place(wrong: float) -> None:
    values = np.array([1.0, 2.0, wrong, 4.0, 5.0, 6.0])
    with pytest.raises(NotFinite, match="night 2 of 6"):
        change_points(values)
    with pytest.raises(NotFinite, match="night 2 of 6"):
        night_alarm(values)


def test_a_table_is_no_series() -> None:
    with pytest.raises(ValueError, match="one value a night"):
        change_points(np.ones((3, 4)))


def test_the_same_night_alarm_looks_at_a_week() -> None:
    values = np.array([50.0, 50, 100, 100, 100, 100, 100, 100, 100, 111])
    change = night_alarm(values)
    assert change is not None
    assert (change.index, change.before, change.after) == (9, 100, 111)


@pytest.mark.parametrize("last", [110.0, 90.0, 100.0])
def test_the_same_night_alarm_needs_more_than_its_limit(last: float) -> None:
    assert night_alarm(np.array([100.0] * 7 + [last])) is None


def test_the_same_night_alarm_goes_both_ways_and_takes_a_limit() -> None:
    values = np.array([100.0] * 7 + [89.0])
    change = night_alarm(values)
    assert change is not None
    assert change.shift == pytest.approx(-0.11)
    assert night_alarm(values, 0.2) is None


def test_the_same_night_alarm_needs_three_nights_before() -> None:
    assert night_alarm(np.array([])) is None
    assert night_alarm(np.array([100.0, 100, 200])) is None
    assert night_alarm(np.array([100.0, 100, 100, 200])) is not None


def test_noise_does_not_count_a_step() -> None:
    assert noise(stepped(400, 200, 2.0)) == pytest.approx(2, rel=0.5)
    assert noise(np.array([1.0])) == 0


def test_autocorrelation_is_bounded() -> None:
    residuals = np.random.default_rng(1).standard_normal(4000)
    assert autocorrelation(residuals) < 0.05
    followed = residuals.copy()
    for night in range(1, followed.size):
        followed[night] += 0.3 * followed[night - 1]
    assert autocorrelation(followed) == pytest.approx(0.3, abs=0.05)
    assert autocorrelation(np.ones(50)) == 0.6
    assert autocorrelation(np.tile([1.0, -1.0], 20)) == 0
    assert autocorrelation(np.zeros(5)) == 0


def test_median_is_the_median() -> None:
    for size in (1, 2, 3, 10, 11):
        values = np.random.default_rng(size).standard_normal(size)
        assert median(values) == pytest.approx(np.median(values))

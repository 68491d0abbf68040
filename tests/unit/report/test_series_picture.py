"""Where things are in a series' figure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.series_picture import (
    GAP_ROW,
    HEIGHT,
    LEFT,
    WIDTH,
    NightScale,
    SeriesPicture,
    Track,
    ValueScale,
    spots,
)

MIB = 2**20


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=5), st.sampled_from(["bytes", "ns", "tokens/s"]))
def test_any_values_have_a_scale_that_holds_them(values: list[float], unit: str) -> None:
    scale = ValueScale.over(values, unit)
    assert scale.low <= min(values) <= max(values) <= scale.high
    assert 2 <= len(scale.ticks) <= 12
    assert len(set(scale.tick_texts)) == len(scale.ticks)
    assert scale.low >= 0


@pytest.mark.parametrize(
    ("values", "unit", "ticks"),
    [
        ([500e6, 540e6], "ns", "500 ms"),
        ([3e9, 4e9], "ns", "3.5 s"),
        ([100 * MIB, 101 * MIB], "bytes", "100 MiB"),
        ([40.0, 42.0], "tokens/s", "41 tok/s"),
    ],
)
def test_ticks_are_in_a_unit_that_people_read(values: list[float], unit: str, ticks: str) -> None:
    scale = ValueScale.over(values, unit)
    assert any(
        float(one.split()[0]) == float(ticks.split()[0]) and one.split()[1] == ticks.split()[1]
        for one in scale.tick_texts
    )
    assert "does not begin at 0" in scale.headline


@given(st.sets(st.integers(730_000, 740_000), min_size=1, max_size=400))
def test_every_night_is_in_the_plot(days: set[int]) -> None:
    scale = NightScale.over(sorted(days))
    assert all(LEFT <= scale.x(day - 0.5) <= scale.x(day + 0.5) <= scale.right < WIDTH for day in days)


def test_segments_of_a_night_share_its_stripe_without_overlap() -> None:
    def track(segment: int, value: float) -> Track:
        return Track(segment, segment - 1, (739_000,), (value,), (value,), (value,), (False,))

    picture = SeriesPicture("ns", (739_000,), (track(1, 5e8), track(2, 6e8)), (), (), (), (), ())
    high, low = sorted(spots(picture, 30.0), key=lambda spot: spot.top)
    assert (high.segment, low.segment) == (2, 1), "the higher one above"
    assert high.top == 30.0
    assert high.top + high.height == pytest.approx(low.top)
    assert low.top + low.height == pytest.approx(30.0 + HEIGHT + GAP_ROW)

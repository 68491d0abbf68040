"""The order in which two sides take their turns."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.bench.compare_turns import Arm, turns_of


@pytest.mark.parametrize("trials", [1, 2, 5, 10])
@pytest.mark.parametrize("warm_ups", [0, 2])
def test_both_sides_get_the_same_trials(trials: int, warm_ups: int) -> None:
    turns = turns_of(trials, warm_ups, "seed")
    for arm in Arm:
        assert [turn.ordinal for turn in turns if turn.arm is arm] == list(range(1 - warm_ups, trials + 1))


def test_a_steady_drift_weighs_on_both_alike() -> None:
    places = dict.fromkeys(Arm, 0)
    for place, turn in enumerate(turns_of(10, 0, "seed")):
        places[turn.arm] += place
    assert places[Arm.A] == places[Arm.B]


def test_the_lot_decides_who_begins_a_block() -> None:
    leaders = Counter(turns_of(40, 0, f"seed {number}")[4 * block].arm for number in range(5) for block in range(20))
    assert min(leaders.values()) > 25
    assert turns_of(80, 1, "one") == turns_of(80, 1, "one")
    assert turns_of(80, 1, "one") != turns_of(80, 1, "two")

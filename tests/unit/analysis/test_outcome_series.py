"""How a case's end changes over the nights. Simulated."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta

import pytest

from harness.analysis.outcome_series import Fate, OutcomeChange, fate_of, outcome_level
from harness.analysis.series import Night
from harness.core.outcome import Outcome

FIRST = date(2026, 1, 1)
LOADS = {"loaded": 5}
DIES = {"bad_alloc": 5}


def nights(*outcomes: dict[str, int]) -> list[Night]:
    return [Night(FIRST + timedelta(place), sum(one.values()), one, {}, {}) for place, one in enumerate(outcomes)]


def changes(*outcomes: dict[str, int]) -> list[OutcomeChange]:
    return list(outcome_level(nights(*outcomes)).changes)


def test_every_outcome_has_a_fate_or_says_nothing() -> None:
    assert {fate_of(outcome.value) for outcome in Outcome} == {*Fate, None}
    assert fate_of("lost") is fate_of("harness_error") is fate_of("unknown") is None


def test_one_night_is_enough_when_all_died() -> None:
    (change,) = changes(LOADS, LOADS, DIES)
    assert (change.before, change.after, change.worse, change.flaky) == ("loaded", "bad_alloc", True, False)
    assert (change.last_before, change.since) == (FIRST + timedelta(1), FIRST + timedelta(2))


def test_a_single_death_is_no_proof_but_one_in_each_of_two_nights_is() -> None:
    one, died = {"loaded": 1}, {"jetsam": 1}
    assert not changes(one, one, died)
    (change,) = changes(one, one, died, died)
    assert change.place == 2
    assert not changes(one, died, one, died), "by turns: nothing of two nights in a row"


def test_a_death_among_loads_is_none_either() -> None:
    level = outcome_level(nights(*[LOADS] * 6, {"loaded": 4, "bad_alloc": 1}))
    assert not level.changes
    assert level.tonight_mixed


def test_nights_of_which_most_but_not_all_died_prove_nothing_at_once() -> None:
    assert not changes(LOADS, *[{"loaded": 2, "jetsam": 3}] * 2)


def test_nights_that_the_phone_or_the_host_spoilt_say_nothing() -> None:
    level = outcome_level(nights(LOADS, {"lost": 5}, {"harness_error": 2, "loaded": 1}))
    assert [night.place for night in level.nights] == [0, 2]
    assert level.nights[-1].trials == 1
    assert not level.changes


def test_falling_back_to_the_cpu_is_worse_than_loading_and_better_than_dying() -> None:
    (fell,) = changes(LOADS, {"fell_back": 5})
    assert fell.worse
    (rose,) = changes(DIES, {"fell_back": 5})
    assert not rose.worse


def test_one_that_died_and_now_loads_is_for_the_better_and_one_loading_night_is_enough() -> None:
    (change,) = changes(DIES, DIES, LOADS)
    assert not change.worse
    assert (change.before, change.after) == ("bad_alloc", "loaded")


def test_a_case_that_became_flaky() -> None:
    sometimes = {"loaded": 3, "bad_alloc": 2}
    (change,) = changes(*[LOADS] * 20, *[sometimes] * 3)
    assert change.flaky
    assert change.since == FIRST + timedelta(20)
    assert change.share_after == pytest.approx(0.4)
    assert not changes(*[LOADS] * 20, *[sometimes] * 3, *[LOADS] * 7), "a week without"
    mostly = {"loaded": 1, "bad_alloc": 4}
    assert changes(*[LOADS] * 10, mostly)[0].flaky


def test_a_case_that_always_was_a_little_flaky_is_no_news() -> None:
    rng = random.Random(1)
    alarmed = 0
    for _ in range(20):
        drawn = [Counter(rng.choices(["loaded", "jetsam"], [0.95, 0.05], k=5)) for _ in range(60)]
        alarmed += any(outcome_level(nights(*drawn[:until])).changes for until in range(10, 60, 7))
    assert alarmed <= 2


def test_no_nights() -> None:
    assert outcome_level([]).changes == ()

"""What nightly figures say tonight: steps, alarms, what came back, what could not be seen. The noise is simulated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.change_points import FloatArray, NotFinite
from harness.analysis.decision import AlarmBy, Decision, decide
from harness.analysis.metrics import METRIC_BY_NAME, Metric

MEMORY = METRIC_BY_NAME["peak_footprint_bytes"]
TIME = METRIC_BY_NAME["load_ns"]
RATE = METRIC_BY_NAME["decode_tokens_per_s"]
MIB = 2**20


def nights(*levels: tuple[int, float], noise: float = 0.0, seed: int = 1) -> FloatArray:
    """(how many nights, level) …, with normal noise that is a share of the level."""
    random = np.random.default_rng(seed)
    return np.concatenate([level * (1 + random.normal(0, noise, count)) for count, level in levels])


def steps(decision: Decision) -> list[tuple[int, bool, AlarmBy]]:
    return [(step.index, step.worse, step.by) for step in decision.steps]


def test_few_nights_say_nothing() -> None:
    for count in (0, 1, 5):
        decision = decide(nights((count, 1e9)), TIME)
        assert not decision.enough
        assert not decision.steps
    assert decide(nights((6, 1e9)), TIME).enough


def test_a_step_of_figures_that_never_vary() -> None:
    decision = decide(nights((20, 100 * MIB), (3, 104 * MIB)), MEMORY)
    assert steps(decision) == [(20, True, AlarmBy.CHANGE_POINT)]
    assert decision.standing == decision.steps
    assert decision.level == 104 * MIB
    assert not decision.noisy
    assert decide(nights((40, 100 * MIB)), MEMORY).steps == ()


def test_memory_is_gated_at_3_percent_and_at_some_pages() -> None:
    assert not decide(nights((20, 100 * MIB), (10, 102.5 * MIB)), MEMORY).steps
    assert decide(nights((20, 100 * MIB), (10, 103.5 * MIB)), MEMORY).steps
    assert not decide(nights((20, 0.5 * MIB), (10, 0.55 * MIB)), MEMORY).steps, "three pages"


def test_time_is_gated_by_its_own_noise() -> None:
    assert decide(nights((40, 1e9), (20, 1.03e9), noise=0.002), TIME).steps
    # four nights of 4 % noise have a standard error of 2.7 %: 5 % are too little
    found = [decide(nights((40, 1e9), (4, 1.05e9), noise=0.04, seed=seed), TIME) for seed in range(20)]
    assert sum(bool(decision.steps) for decision in found) <= 2


def test_the_way_that_is_worse_is_the_metrics() -> None:
    slower = decide(nights((20, 40.0), (6, 36.0), noise=0.005), RATE)
    assert [step.worse for step in slower.steps] == [True]
    assert slower.standing
    faster = decide(nights((20, 40.0), (6, 44.0), noise=0.005), RATE)
    assert not faster.standing
    assert [step.worse for step in faster.steps] == [False]


def test_one_night_far_off_is_an_alarm_at_once_and_one_change_with_its_next_nights() -> None:
    by = []
    for more in range(1, 8):
        (step,) = decide(nights((30, 1e9), (more, 1.2e9), noise=0.005), TIME).steps
        assert (step.index, step.worse) == (30, True), f"{more} nights"
        by.append(step.by)
    assert by[:2] == [AlarmBy.SAME_NIGHT] * 2, "two nights are no level"
    assert by[-2:] == [AlarmBy.CHANGE_POINT] * 2
    gone = decide(nights((30, 1e9), (1, 1.2e9), (1, 1e9), noise=0.005), TIME)
    assert not gone.steps


def test_a_short_night_is_no_alarm_alone() -> None:
    values = nights((30, 1e9), (1, 1.2e9), noise=0.005)
    assert decide(values, TIME).steps
    assert not decide(values, TIME, tonight_short=True).steps


def test_a_night_whose_trials_do_not_agree_is_no_alarm_alone() -> None:
    values = nights((30, 1e9), (1, 1.2e9), noise=0.005)
    quartiles = np.stack([values * 0.995, values * 1.005], axis=1)
    assert decide(values, TIME, quartiles=quartiles).steps, "all of them are slower"
    quartiles[-1] = [1.0e9, 1.25e9]
    assert not decide(values, TIME, quartiles=quartiles).steps, "three of five, say"
    quartiles[-1] = [1.19e9, 1.21e9]
    quartiles[:-1] = [[0.8e9, 1.3e9]]
    assert decide(values, TIME, quartiles=quartiles).steps, "only the night's own trials are asked"
    faster = nights((30, 1e9), (1, 0.8e9), noise=0.005)
    quartiles = np.stack([faster * 0.9, faster * 1.01], axis=1)
    assert decide(faster, TIME, quartiles=quartiles).steps
    quartiles[-1, 1] = 0.99e9
    assert not decide(faster, TIME, quartiles=quartiles).steps


def test_a_metric_with_wild_nights_needs_a_wilder_one() -> None:
    wild = nights((10, 1e9), (1, 1.14e9), (10, 1e9), (1, 1.14e9), (10, 1e9), noise=0.005)
    assert not decide(np.append(wild, 1.15e9), TIME).steps
    assert decide(np.append(wild, 1.3e9), TIME).steps


def test_what_came_back_and_what_came_back_in_part() -> None:
    back = decide(nights((20, 1e9), (10, 1.2e9), (10, 1.0e9), noise=0.003), TIME)
    assert not back.standing
    assert [(bad.index, good.index) for bad, good in back.recovered] == [(20, 30)]
    part = decide(nights((20, 1e9), (10, 1.2e9), (10, 1.1e9), noise=0.003), TIME)
    assert [step.index for step in part.standing] == [20]
    two = decide(nights((20, 1e9), (10, 1.1e9), (10, 1.2e9), (10, 1.1e9), noise=0.003), TIME)
    assert [step.index for step in two.standing] == [20], "the second one is back"


def test_noise_that_hides_what_should_be_seen() -> None:
    loud = decide(nights((60, 1e9), noise=0.08), TIME)
    assert loud.noisy
    assert loud.detectable_shift > 0.10
    calm = decide(nights((60, 1e9), noise=0.01), TIME)
    assert not calm.noisy
    assert calm.detectable_shift < 0.04


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.04])
def test_what_is_said_to_be_seen_is_seen(noise: float) -> None:
    """A step of the detectable size is found within 30 nights, nearly always."""
    found = 0
    for seed in range(40):
        clean = nights((60, 1e9), noise=noise, seed=seed)
        size = decide(clean, TIME).detectable_shift
        after = nights((30, 1e9 * (1 + size)), noise=noise, seed=seed + 1000)
        found += any(step.worse for step in decide(np.append(clean, after), TIME).steps)
    assert found >= 36


def test_a_night_without_a_figure_is_refused() -> None:
    with pytest.raises(NotFinite):
        decide(np.array([1.0] * 10 + [np.nan]), TIME)


@given(
    st.lists(st.just(0.0) | st.floats(1e-3, 1e12), max_size=60),
    st.sampled_from([MEMORY, TIME, RATE]),
    st.booleans(),
)
def test_whatever_the_figures_the_steps_are_in_order_and_count(
    values: list[float], metric: Metric, short: bool
) -> None:
    decision = decide(np.array(values), metric, tonight_short=short)
    indexes = [step.index for step in decision.steps]
    assert indexes == sorted(indexes)
    assert all(0 < index < len(values) for index in indexes)
    assert set(decision.standing) | {bad for bad, _ in decision.recovered} == {s for s in decision.steps if s.worse}


@given(st.integers(0, 2**16), st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(seed: int, factor: float) -> None:
    values = nights((30, 1e9), (10, 1.06e9), noise=0.02, seed=seed)
    assert steps(decide(values, TIME)) == steps(decide(values * factor, TIME))

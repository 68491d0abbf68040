"""What a plan says of times, pushes and budgets: from records and sizes, and nothing invented."""

from __future__ import annotations

from typing import Any

import pytest

from harness.bench.forecast import (
    Basis,
    PushForecast,
    budget_effects,
    duration,
    push_bytes_per_s,
    trial_s,
    typical_times,
)
from harness.bench.plan import cases_of, plan_trials
from harness.bench.suite import Budget, Suite
from harness.core.record import TrialRecord
from harness.core.telemetry import HostStep
from tests.unit.bench.made_records import made_record

S = 1_000_000_000
MIB = 1024 * 1024
COLD, WARM = "tiny/litert_lm/cpu/cold", "tiny/litert_lm/cpu/warm"


def suite(**options: Any) -> Suite:
    models = [{"name": "tiny", "synth": "tiny"}, {"name": "wide", "synth": "wide"}]
    matrix = {"caches": ["cold", "warm"]}
    return Suite.model_validate({"name": "s", "models": models, "matrix": matrix, "options": options})


def took(seconds: int, case: str = COLD, **changes: Any) -> TrialRecord:
    times = {"started_at": "2026-11-22T15:00:00+00:00", "finished_at": f"2026-11-22T15:00:{seconds:02d}+00:00"}
    return made_record(**{"case": case, "model_name": case.partition("/")[0], **times, **changes})


def test_the_push_and_the_install_are_no_part_of_what_a_trial_takes() -> None:
    steps = (HostStep("app", 0, 2 * S), HostStep("model", 2 * S, 5 * S), HostStep("run", 5 * S, 9 * S))
    assert trial_s(took(30, host_steps=steps)) == pytest.approx(25)


def pushed(seconds: float, **changes: Any) -> TrialRecord:
    steps = (HostStep("model", S, S + int(seconds * S)),)
    return took(30, **{"model_bytes": 100 * MIB, "host_steps": steps, **changes})


def test_how_fast_pushes_are_is_told_by_those_that_had_not_to_wait() -> None:
    # four phones of one root push at once, others alone, and one only goes on with the rest of a part
    seconds = (4, 4, 4, 8, 12, 16, 2)
    assert push_bytes_per_s([pushed(one) for one in seconds]) == 25 * MIB
    # what was on the phone already tells nothing, nor what went wrong
    none = [pushed(1.9), pushed(20, cut_short=True), pushed(20, outcome="push_failed", outcome_family="host")]
    assert push_bytes_per_s([*none, pushed(4), pushed(4)]) is None
    assert push_bytes_per_s([*none, pushed(4), pushed(4), pushed(4)]) == 25 * MIB
    assert push_bytes_per_s([pushed(3, model_bytes=4 * 10**9)] * 9) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "running"},
        {"cut_short": True},
        {"outcome": "lost", "outcome_family": "device"},
        {"outcome": "push_failed", "outcome_family": "host"},
        {"finished_at": None},
    ],
)
def test_what_says_nothing_of_the_next_trial_has_no_time(changes: dict[str, Any]) -> None:
    assert trial_s(took(30, **changes)) is None
    assert trial_s(took(30, outcome="bad_alloc", outcome_family="model")) == 30


def test_the_case_itself_then_its_model_then_nothing() -> None:
    times = typical_times(cases_of(suite()), [took(2), took(4), took(30), took(5, "tiny/mmap/cpu/none")], {})
    assert (times[COLD].seconds, times[COLD].basis, times[COLD].trials) == (4, Basis.CASE, 3)
    assert (times[WARM].seconds, times[WARM].basis, times[WARM].trials) == (4.5, Basis.MODEL, 4)
    wide = times["wide/litert_lm/cpu/cold"]
    assert (wide.seconds, wide.basis, wide.trials) == (None, Basis.NONE, 0)


def test_another_file_of_the_same_name_is_another_model() -> None:
    times = typical_times(cases_of(suite()), [took(2, model_sha256="aa")], {"tiny": "bb"})
    assert times[COLD].basis is Basis.NONE
    assert typical_times(cases_of(suite()), [took(2, model_sha256="bb")], {"tiny": "bb"})[COLD].seconds == 2


def test_the_whole_is_told_with_what_it_lacks() -> None:
    asked = suite(trials=2, warmup_trials=1, pause_s=10)
    trials = plan_trials(asked)
    whole = duration(trials, typical_times(cases_of(asked), [took(2)], {}))
    # 12 trials, 6 of them of tiny, and 11 pauses
    assert whole.known_s == pytest.approx(6 * 2 + 11 * 10)
    assert (whole.by_case, whole.by_model, whole.unknown) == (3, 3, 6)


PUSHES = [
    PushForecast("tiny", "app", 1 * MIB, 4),
    PushForecast("wide", "app", 70 * MIB, 6),
    PushForecast("tiny", "app.both", 2 * MIB, 2),
]


def test_budgets_that_end_the_run() -> None:
    asked = suite(trials=2)
    trials = plan_trials(asked)
    times = typical_times(cases_of(asked), [took(10), took(10, "wide/litert_lm/cpu/cold")], {})
    budget = Budget.model_validate({"max_s": 45, "max_push": "20 MiB"})
    by_time, by_push = budget_effects(budget, trials, times, PUSHES)
    # the fifth begins at 40 s, the sixth would at 50 s
    assert (by_time.not_run, "ends after 5 of 8 trials" in by_time.words) == (3, True)
    assert (by_push.not_run, "wide (70 MiB)" in by_push.words) == (6, True)


def test_budgets_that_are_enough_or_cannot_be_told() -> None:
    asked = suite(trials=2)
    trials = plan_trials(asked)
    times = typical_times(cases_of(asked), [took(10), took(10, "wide/litert_lm/cpu/cold")], {})
    budget = Budget.model_validate({"max_s": 100, "max_push": "1 GiB"})
    assert [effect.not_run for effect in budget_effects(budget, trials, times, PUSHES)] == [0, 0]
    unknown = [PushForecast("wide", "app", None, 6)]
    nothing = typical_times(cases_of(asked), [], {})
    told = budget_effects(budget, trials, nothing, unknown)
    assert [effect.not_run for effect in told] == [None, None]
    assert "tiny/litert_lm/cpu/cold" in told[0].words
    assert "wide" in told[1].words
    assert budget_effects(Budget(), trials, times, PUSHES) == []

"""When a budget lets no further trial begin."""

from __future__ import annotations

from harness.bench.budget import BudgetMeter, duration_words
from harness.bench.suite import Budget

MIB = 1024 * 1024


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_time_begins_with_the_first_question_and_counts_the_rest_before_the_trial() -> None:
    clock = Clock()
    meter = BudgetMeter(Budget(max_s=7200), clock)
    clock.now_s += 5000
    assert meter.time_refuses(0) is None
    clock.now_s += 7199
    assert meter.time_refuses(0) is None
    assert meter.time_refuses(0, rest_s=1) is not None
    clock.now_s += 1
    assert meter.time_refuses(0) == "the budget's max_s = 7200 (2:00:00) is used up"


def test_a_push_must_fit_into_what_is_left() -> None:
    meter = BudgetMeter(Budget.model_validate({"max_push": "100 MiB"}))
    # what the run had pushed before, for another suite, is not this one's
    assert meter.time_refuses(900 * MIB) is None
    assert meter.push_refuses(900 * MIB, 100 * MIB) is None
    told = meter.push_refuses(960 * MIB, 41 * MIB)
    assert told == 'a push of 41 MiB is needed, and of the budget\'s max_push = "100 MiB" 40 MiB are left'
    assert meter.push_refuses(960 * MIB, 40 * MIB) is None


def test_a_trial_without_a_push_begins_however_much_was_pushed() -> None:
    meter = BudgetMeter(Budget.model_validate({"max_push": "1 MiB"}))
    meter.time_refuses(0)
    assert meter.push_refuses(5 * MIB, 0) is None
    assert "0 B are left" in (meter.push_refuses(5 * MIB, 1) or "")


def test_no_budget_refuses_nothing() -> None:
    clock = Clock()
    meter = BudgetMeter(Budget(), clock)
    assert meter.time_refuses(0) is None
    clock.now_s += 10**9
    assert meter.time_refuses(10**12) is None
    assert meter.push_refuses(10**12, 10**12) is None


def test_durations_in_words() -> None:
    assert [duration_words(seconds) for seconds in (0.25, 59, 60, 7200)] == ["0.25 s", "59 s", "0:01:00", "2:00:00"]

"""What a run of a suite would be: how long, how many bytes, what first. Pure: what is known goes in, figures come out.

Nothing is invented. A time comes from records of this device class, a size from a file or from the model maker; what
neither tells is None, and a sum with such a part is told as a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import median, quantiles

from harness.bench.budget import duration_words
from harness.bench.plan import Case, PlannedTrial
from harness.bench.suite_tables import Budget
from harness.core.outcome import Family
from harness.core.record import TrialRecord, TrialState
from harness.core.units import format_bytes

PUSH = "model"
"""Step in which a model is pushed, or seen to be on the phone."""
ONCE = ("app", "preflight", PUSH)
"""Steps of a trial that are long only the first time: they are no part of what a trial takes."""
NS_PER_S = 1_000_000_000
LEAST_PUSH_S = 2.0
"""A step that took less may well have pushed nothing, and its length would matter to nobody."""
MOST_PUSH_BYTES_PER_S = 1e9
"""Faster than any cable: nothing was pushed."""
LEAST_PUSHES = 3
"""So many tell how fast pushes are; one alone may have waited long for others."""


class Basis(StrEnum):
    """What a time is taken from."""

    CASE = "case"
    """Records of the same case."""
    MODEL = "model"
    """Records of other cases with the same model."""
    NONE = "none"
    """There is no such record: not known."""


@dataclass(frozen=True)
class TypicalTime:
    """Median time of a trial, without the push of its model and the install of the app."""

    seconds: float | None
    basis: Basis
    trials: int
    """How many records."""


class Source(StrEnum):
    """Where a model's file comes from, as far as this host is concerned."""

    THERE = "there"
    MAKE = "make"
    FETCH = "fetch"
    MISSING = "missing"


@dataclass(frozen=True)
class ModelForecast:
    name: str
    source: Source
    size_bytes: int | None
    """None: not known before it is there."""
    place: str
    """The file, or where it comes from."""


@dataclass(frozen=True)
class PushForecast:
    """A model for one of the apps on the phone, which each have their own."""

    model: str
    bundle_id: str
    push_bytes: int | None
    """0: the phone has it; None: not known."""
    trials: int
    """How many need it."""


@dataclass(frozen=True)
class BudgetForecast:
    """What a budget does to the run."""

    key: str
    not_run: int | None
    """Trials that would not begin; None: cannot be told."""
    words: str


def typical_times(
    cases: Iterable[Case], records: Sequence[TrialRecord], digests: Mapping[str, str]
) -> dict[str, TypicalTime]:
    """Case → time, from records of the same device class; `digests`: those of the models whose files are there."""
    of_case: dict[str, list[float]] = {}
    of_model: dict[str, list[float]] = {}
    for record in records:
        seconds = trial_s(record)
        # the same name may have meant another file
        if seconds is None or digests.get(record.model_name, record.model_sha256) != record.model_sha256:
            continue
        of_case.setdefault(record.case, []).append(seconds)
        of_model.setdefault(record.model_name, []).append(seconds)
    return {case.name: _typical(of_case.get(case.name), of_model.get(case.model.name)) for case in cases}


def _typical(of_case: list[float] | None, of_model: list[float] | None) -> TypicalTime:
    if of_case:
        return TypicalTime(median(of_case), Basis.CASE, len(of_case))
    if of_model:
        return TypicalTime(median(of_model), Basis.MODEL, len(of_model))
    return TypicalTime(None, Basis.NONE, 0)


def trial_s(record: TrialRecord) -> float | None:
    """How long a trial took; None for one that says nothing of the next: cut short, or in trouble with the phone."""
    if record.state != TrialState.DONE or record.cut_short or record.finished_at is None:
        return None
    if record.outcome_family not in (Family.MEASURED, Family.MODEL):
        return None
    whole_s = (datetime.fromisoformat(record.finished_at) - datetime.fromisoformat(record.started_at)).total_seconds()
    once_ns = sum(step.duration_ns or 0 for step in record.host_steps if step.name in ONCE)
    # two clocks: the one may have been set meanwhile
    return max(0.0, whole_s - once_ns / NS_PER_S)


def push_bytes_per_s(records: Iterable[TrialRecord]) -> float | None:
    """How fast models go to phones of the records' class; None: too few were pushed.

    A record tells how long its model took to be on the phone, not what of it was pushed. So it is the upper quartile
    of what the slow ones say: of pushes to phones of one USB root many have waited for others, and a few only went on
    with what was there in part.
    """
    found = []
    for record in records:
        if trial_s(record) is None:
            continue
        took_s = sum(step.duration_ns or 0 for step in record.host_steps if step.name == PUSH) / NS_PER_S
        if took_s >= LEAST_PUSH_S and record.model_bytes / took_s <= MOST_PUSH_BYTES_PER_S:
            found.append(record.model_bytes / took_s)
    return quantiles(found, n=4, method="inclusive")[2] if len(found) >= LEAST_PUSHES else None


@dataclass(frozen=True)
class Duration:
    """Of all trials with the pauses between them, without pushes, installs and the making of models."""

    known_s: float
    by_case: int
    """Trials whose time is known from their case, …"""
    by_model: int
    """… from other cases of their model, …"""
    unknown: int
    """… and not at all: these are not in `known_s`."""


def duration(trials: Sequence[PlannedTrial], times: Mapping[str, TypicalTime]) -> Duration:
    """The sum over the trials."""
    known_s, counts = 0.0, dict.fromkeys(Basis, 0)
    for number, planned in enumerate(trials):
        time = times[planned.case.name]
        counts[time.basis] += 1
        known_s += (time.seconds or 0.0) + (planned.case.options.pause_s if number else 0.0)
    return Duration(known_s, counts[Basis.CASE], counts[Basis.MODEL], counts[Basis.NONE])


def budget_effects(
    budget: Budget, trials: Sequence[PlannedTrial], times: Mapping[str, TypicalTime], pushes: Sequence[PushForecast]
) -> list[BudgetForecast]:
    """What each budget that the suite has does, each as if it were the only one; `pushes` in order of first need."""
    effects = []
    if budget.max_s is not None:
        effects.append(_time_effect(budget.max_s, trials, times))
    if budget.max_push is not None:
        effects.append(_push_effect(budget.max_push, pushes))
    return effects


def _time_effect(max_s: float, trials: Sequence[PlannedTrial], times: Mapping[str, TypicalTime]) -> BudgetForecast:
    head = f"max_s = {max_s:g} ({duration_words(max_s)})"
    elapsed_s = 0.0
    for number, planned in enumerate(trials):
        elapsed_s += planned.case.options.pause_s if number else 0.0
        if elapsed_s >= max_s:
            words = f"{head}: ends after {number} of {len(trials)} trials, or earlier by what pushes take"
            return BudgetForecast("max_s", len(trials) - number, words)
        seconds = times[planned.case.name].seconds
        if seconds is None:
            words = f"{head}: cannot be told: how long a trial of {planned.case.name} takes is not known"
            return BudgetForecast("max_s", None, words)
        elapsed_s += seconds
    spare = duration_words(max(0.0, max_s - elapsed_s))
    return BudgetForecast("max_s", 0, f"{head}: enough for all trials, with {spare} to spare for pushes")


def _push_effect(max_bytes: int, pushes: Sequence[PushForecast]) -> BudgetForecast:
    head = f'max_push = "{format_bytes(max_bytes)}"'
    unknown = dict.fromkeys(push.model for push in pushes if push.push_bytes is None)
    if unknown:
        words = f"{head}: cannot be told: how much of {', '.join(unknown)} is to be pushed is not known"
        return BudgetForecast("max_push", None, words)
    left_bytes, refused = max_bytes, []
    for push in pushes:
        needed_bytes = push.push_bytes or 0
        if needed_bytes > left_bytes:
            refused.append(push)
        else:
            left_bytes -= needed_bytes
    if not refused:
        return BudgetForecast("max_push", 0, f"{head}: enough for all pushes, {format_bytes(left_bytes)} are left")
    told = ", ".join(f"{push.model} ({format_bytes(push.push_bytes or 0)})" for push in refused)
    not_run = sum(push.trials for push in refused)
    words = f"{head}: {not_run} trials do not begin, for there is no room for the push of {told}"
    return BudgetForecast("max_push", not_run, words)

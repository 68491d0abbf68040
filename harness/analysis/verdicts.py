"""Verdicts on all series of a frame of trials, as of a night: the worst first. Pure; frames in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from harness.analysis.metric_verdicts import metric_verdict
from harness.analysis.metrics import METRICS
from harness.analysis.nightly import histories
from harness.analysis.outcome_verdicts import outcome_verdict
from harness.analysis.series import CaseHistory, Segment, identity_differences
from harness.analysis.verdict import Notes, Verdict, VerdictOptions
from harness.core.judgement import Confirmation, Triage

if TYPE_CHECKING:
    import pandas as pd


def judge(
    trials: pd.DataFrame,
    *,
    as_of: date | None = None,
    triage: Iterable[Triage] = (),
    confirmations: Iterable[Confirmation] = (),
    options: VerdictOptions | None = None,
) -> list[Verdict]:
    """The verdicts that the night `as_of` gives, worst first; None: each suite's newest night.

    `trials`: a frame with `nightly.COLUMNS`, as `ResultStore.frame` gives it. What was recorded, or said, after that
    night is as if it were not there.
    """
    options = options or VerdictOptions()
    starts = options.night_starts_utc
    notes = Notes.made(triage, confirmations, as_of=as_of, night_starts_utc=starts)
    return judge_histories(histories(trials, as_of=as_of, night_starts_utc=starts), notes, as_of=as_of, options=options)


def judge_histories(
    all_histories: Sequence[CaseHistory],
    notes: Notes,
    *,
    as_of: date | None = None,
    options: VerdictOptions | None = None,
) -> list[Verdict]:
    """The same from histories that end with the night `as_of`."""
    options = options or VerdictOptions()
    found = [
        verdict
        for history in all_histories
        for verdict in _of_case(history, as_of or _tonight(history), notes, options)
    ]
    return sorted(found, key=lambda verdict: verdict.rank)


def _tonight(history: CaseHistory) -> date:
    return history.suite_nights[-1]


def _of_case(history: CaseHistory, tonight: date, notes: Notes, options: VerdictOptions) -> Iterator[Verdict]:
    current = [one for one in history.current() if not _retired(history, one, tonight, options)]
    for segment in current:
        told: list[Verdict | None] = [outcome_verdict(history, segment, tonight, notes, options)]
        told += [metric_verdict(history, segment, metric, tonight, notes, options) for metric in METRICS]
        others = identity_differences(segment.identity, [one.identity for one in current])
        yield from (replace(verdict, segment=others) for verdict in told if verdict is not None)


def _retired(history: CaseHistory, segment: Segment, tonight: date, options: VerdictOptions) -> bool:
    """Whether the suite has gone on without the case, or has itself not run, for long."""
    missed = sum(segment.last < night <= tonight for night in history.suite_nights)
    idle = (tonight - history.suite_nights[-1]).days
    return max(missed, idle) >= options.retired_nights

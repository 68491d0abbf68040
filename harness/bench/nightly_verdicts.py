"""Verdicts and histories of kept results: the store's rows, handed to `analysis`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from harness.analysis.nightly import COLUMNS, histories
from harness.analysis.verdicts import judge
from harness.core.judgement import NIGHT_STARTS_UTC
from harness.core.record import TrialState
from harness.store.triage import confirmations, triage_notes

if TYPE_CHECKING:
    from datetime import time

    from harness.analysis.series import CaseHistory
    from harness.analysis.verdict import Verdict, VerdictOptions
    from harness.store.database import ResultStore


def verdicts_of(
    store: ResultStore, *, as_of: date | None = None, options: VerdictOptions | None = None
) -> list[Verdict]:
    """The verdicts that the night `as_of` gives, worst first; None: each suite's newest night."""
    trials = store.columns(COLUMNS, state=TrialState.DONE.value, arm=None)
    return judge(trials, as_of=as_of, triage=triage_notes(store), confirmations=confirmations(store), options=options)


def histories_of(
    store: ResultStore, *, as_of: date | None = None, night_starts_utc: time = NIGHT_STARTS_UTC
) -> list[CaseHistory]:
    """The nights of every case."""
    trials = store.columns(COLUMNS, state=TrialState.DONE.value, arm=None)
    return histories(trials, as_of=as_of, night_starts_utc=night_starts_utc)

"""A run that is under way, as the hub knows it beside the board: its suite, and how it stood when the hub began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from harness.core.errors import UsageError
from harness.core.record import TrialState
from harness.core.standing import GivenUpBy, TrialStanding
from harness.farm.board.words import CANCELLED, BoardRun, Target
from harness.farm.hub.submissions import KnownOfSuite, SubmittedSuite, TrialKey, known_of, nothing_known, read
from harness.farm.wire import JobId, JobOptions, TrialJob, Unintelligible
from harness.store.farm_ledger import FarmLedger, LedgerRun, LedgerTrial


@dataclass
class ActiveRun:
    """Changed by the coordinator alone."""

    run: LedgerRun
    submitted: SubmittedSuite
    board_run: BoardRun
    ended_before: Mapping[TrialStanding, int]
    """Trials that ended before this hub began."""
    cancelled: str | None = None
    """By whom."""

    @cached_property
    def options(self) -> JobOptions:
        """As they were submitted."""
        return JobOptions.read(dict(self.run.options))

    @property
    def total(self) -> int:
        """Trials."""
        return len(self.submitted.planned)

    @cached_property
    def _numbers(self) -> Mapping[TrialKey, int]:
        return {(one.case.name, one.ordinal): number for number, one in enumerate(self.submitted.planned, start=1)}

    def job(self, job: JobId) -> TrialJob:
        """What a phone's process is given."""
        return TrialJob(
            job=job,
            suite_text=self.run.suite_text,
            base=self.run.base,
            suite_digest=self.run.suite_digest,
            number=self._numbers[job.case, job.ordinal],
            total=self.total,
            options=self.options,
        )


@dataclass(frozen=True)
class Restored:
    """A run of the ledger that goes on."""

    active: ActiveRun
    known: KnownOfSuite
    left: Mapping[TrialKey, int]
    """Trials without an end, each with the number of its attempt: the one under way, or the next."""
    under_way: Mapping[TrialKey, str]
    """Those that were running, each with its phone."""


def restored(ledger: FarmLedger, run: LedgerRun) -> Restored:
    """Blocks. Raises UsageError for a run that this version cannot go on with, StoreError."""
    try:
        options = JobOptions.read(dict(run.options))
    except Unintelligible as error:
        raise UsageError(f"its options are another version's: {error}") from None
    # what it may bring along was asked when it was submitted
    submitted = read(run.suite_text, run.base, options, own_paths=True)
    if submitted.suite.digest != run.suite_digest:
        raise UsageError(
            f"its suite is {submitted.suite.digest} to this version, and was {run.suite_digest}: cancel it, and "
            "submit it again"
        )
    trials = ledger.trials(run.run_id)
    ended = (TrialStanding.DONE, TrialStanding.GIVEN_UP)
    before = {state: sum(one.state == state.value for one in trials) for state in ended}
    left = [one for one in trials if one.state not in {state.value for state in ended}]
    submitted_s = datetime.fromisoformat(run.submitted_at).timestamp()
    board_run = BoardRun(run.run_id, Target(run.target), run.priority, submitted_s, run.attempts)
    return Restored(
        ActiveRun(run, submitted, board_run, before, _cancelled(trials)),
        _known(ledger, run, submitted),
        {(one.case, one.ordinal): one.attempt for one in left},
        {
            (one.case, one.ordinal): one.phone
            for one in left
            if one.state == TrialStanding.RUNNING.value and one.phone is not None
        },
    )


def _cancelled(trials: list[LedgerTrial]) -> str | None:
    for one in trials:
        if one.given_up_by == GivenUpBy.CANCELLED.value:
            return one.reason.removeprefix(CANCELLED).removeprefix(" by ")
    return None


def _known(ledger: FarmLedger, run: LedgerRun, submitted: SubmittedSuite) -> KnownOfSuite:
    """By what the run has itself done; no phone has been heard of yet."""
    if (of_class := Target(run.target).of_class) is not None:
        return known_of(ledger.store, submitted, *of_class)
    ids = ledger.store.trial_ids(run_id=run.run_id, state=TrialState.DONE.value)
    if not ids:
        return nothing_known(submitted)
    newest = ledger.store.trials(trial_id=ids[-1])[0]
    return known_of(ledger.store, submitted, newest.device_kind, newest.device_product_type)

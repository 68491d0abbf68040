"""What becomes of a trial's attempt: it ends, is lost, or is waited for until a time. Sans-IO; for the board.

All that changes a trial's state goes through here, so that each change is there for the ledger and each loss is told.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.core.standing import GivenUpBy, TrialStanding
from harness.farm.board.roster import Roster
from harness.farm.board.runs import RunOnBoard, TrialOnBoard
from harness.farm.board.words import BoardEvent, Change, PhoneStanding
from harness.farm.wire import JobId


class Attempts:
    """The board alone uses it."""

    def __init__(self, runs: Mapping[str, RunOnBoard], roster: Roster) -> None:
        self.changes: list[Change] = []
        self.events: list[BoardEvent] = []
        self._runs = runs
        self._roster = roster
        self._deadlines: dict[tuple[str, str, int], tuple[float, str]] = {}

    def running(self, job: JobId) -> tuple[RunOnBoard, TrialOnBoard] | None:
        """The trial, if that attempt of it is under way."""
        run = self._runs.get(job.run_id)
        trial = run.trials.get((job.case, job.ordinal)) if run is not None else None
        if run is None or trial is None or trial.state is not TrialStanding.RUNNING or trial.attempt != job.attempt:
            return None
        return run, trial

    # deadlines

    def wait(self, run: RunOnBoard, trial: TrialOnBoard, until_s: float, why: str) -> None:
        """What is under way counts as lost then, for that reason."""
        self._deadlines[run.run.run_id, *trial.key] = (until_s, why)

    def wait_no_more(self, run: RunOnBoard, trial: TrialOnBoard) -> None:
        self._deadlines.pop((run.run.run_id, *trial.key), None)

    def awaited_from(self, phone: str) -> list[tuple[RunOnBoard, TrialOnBoard, float]]:
        """Trials of that phone that are waited for, each with its time."""
        found = []
        for (run_id, case, ordinal), (until_s, _) in self._deadlines.items():
            run = self._runs[run_id]
            trial = run.trials[case, ordinal]
            if trial.phone == phone:
                found.append((run, trial, until_s))
        return found

    def lose_overdue(self, now_s: float) -> None:
        """Those that were waited for in vain."""
        due = [key for key, (until_s, _) in self._deadlines.items() if now_s >= until_s]
        for key in due:
            run_id, case, ordinal = key
            _, why = self._deadlines.pop(key)
            run = self._runs[run_id]
            trial = run.trials[case, ordinal]
            assert trial.phone is not None
            self._lose(run, trial, trial.phone, why)

    # ends

    def begin(self, run: RunOnBoard, trial: TrialOnBoard, phone: PhoneStanding, now_s: float) -> JobId:
        """It is given to the phone."""
        said = phone.said
        run.enter(trial, TrialStanding.RUNNING)
        trial.phone, trial.assigned_s = said.phone, now_s
        job = run.job(trial)
        self._roster.give(phone, job, now_s)
        self.changes.append(Change(job, TrialStanding.RUNNING, said.phone, said.host))
        self.events.append(BoardEvent(run.run.run_id, "begun", job, said.phone))
        return job

    def done(self, run: RunOnBoard, trial: TrialOnBoard, phone: str, trial_id: str | None) -> None:
        """It has its result: that record."""
        job = run.job(trial)
        self._ended(run, trial)
        run.enter(trial, TrialStanding.DONE)
        known = self._roster.phones.get(phone)
        host = known.said.host if known is not None else None
        self.changes.append(Change(job, TrialStanding.DONE, phone, host, trial_id))

    def lose_on(self, phone: PhoneStanding, why: str) -> None:
        """What the phone is at."""
        assert phone.job is not None
        job = phone.job
        self._roster.release(phone)
        if (found := self.running(job)) is not None:
            self._lose(*found, phone.said.phone, why)

    def _lose(self, run: RunOnBoard, trial: TrialOnBoard, phone: str, why: str) -> None:
        self.events.append(BoardEvent(run.run.run_id, "lost", run.job(trial), phone, text=why))
        if (known := self._roster.phones.get(phone)) is not None:
            self.strike(known, run, trial, f"lost: {why}")
        self.again(run, trial, phone, why)

    def again(self, run: RunOnBoard, trial: TrialOnBoard, phone: str, why: str) -> None:
        """The attempt is over without a result."""
        trial.tried.append((trial.attempt, phone, why))
        trial.waiting.failed_on.add(phone)
        if run.cancelled is not None:
            self.give_up(run, trial, run.cancelled, GivenUpBy.CANCELLED)
        elif trial.attempt >= run.run.attempts:
            self.give_up(run, trial, trial.tried_text(), GivenUpBy.LOST)
        else:
            trial.attempt += 1
            self.wait_again(run, trial, why)

    def wait_again(self, run: RunOnBoard, trial: TrialOnBoard, why: str) -> None:
        """With the attempt's number that it has."""
        if run.cancelled is not None:
            self.give_up(run, trial, run.cancelled, GivenUpBy.CANCELLED)
            return
        self._ended(run, trial)
        run.enter(trial, TrialStanding.WAITING)
        self.changes.append(Change(run.job(trial), TrialStanding.WAITING, reason=why))

    def give_up(self, run: RunOnBoard, trial: TrialOnBoard, why: str, by: GivenUpBy) -> None:
        """It stays without a result."""
        job, phone = run.job(trial), trial.phone
        if trial.state is TrialStanding.RUNNING:
            self._ended(run, trial)
        if not trial.tried:
            trial.tried.append((trial.attempt, phone or "no phone", why))
        run.enter(trial, TrialStanding.GIVEN_UP)
        self.changes.append(Change(job, TrialStanding.GIVEN_UP, phone, reason=why, given_up_by=by))
        self.events.append(BoardEvent(run.run.run_id, "given_up", job, phone, text=why))

    def _ended(self, run: RunOnBoard, trial: TrialOnBoard) -> None:
        run.queue.running_s = max(0.0, run.queue.running_s - trial.waiting.takes_s)
        self.wait_no_more(run, trial)

    def strike(self, phone: PhoneStanding, run: RunOnBoard, trial: TrialOnBoard, why: str) -> None:
        """The attempt was spoilt on the phone."""
        if (text := self._roster.struck(phone, run, trial, why)) is not None:
            self.events.append(BoardEvent(run.run.run_id, "note", None, phone.said.phone, text=text))

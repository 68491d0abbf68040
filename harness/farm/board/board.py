"""The board: which trial is where, which phone may have the next, and what counts as a trial's result.

Sans-IO: times come in as `now_s`, of one clock that never goes back. What the hub does with it: tell it what was said
and what happened, ask it for assignments, keep `take_changes()`, and only then give the jobs to the phones. Everything
that decides whether an attempt counts lives here (and once more, as the fence, in the ledger):

    waiting ──assign──▶ running ──record──▶ done
       ▲                  │ │ refused, cancelled, attempts used up
       └──lost, spoilt────┘ └──────────────▶ given_up
          (attempt + 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.core.outcome import Family
from harness.core.standing import GivenUpBy, TrialStanding
from harness.farm.board.attempts import Attempts
from harness.farm.board.phones import standing_word
from harness.farm.board.roster import Roster
from harness.farm.board.runs import RunOnBoard, TrialOnBoard
from harness.farm.board.words import (
    CANCELLED,
    Assignment,
    BoardEvent,
    BoardRun,
    BoardTrial,
    Change,
    Mark,
    PhoneStanding,
    Taken,
)
from harness.farm.wire import Announcement, JobEnd, JobId, JobReport, Orders, PhoneState

START_GRACE_S = 15.0
"""A phone that says for so long that it is not at the job it was given has lost it."""
RESTART_GRACE_S = 60.0
"""So long a trial that was running when the hub ended waits for its phone to be heard of again."""
RECORD_GRACE_S = 600.0
"""So long a trial that has ended, as its phone said, waits for its record."""
_HARMFUL = (Family.DEVICE, Family.HOST)


class Board:
    """The coordinator is its only user, from one thread."""

    def __init__(self) -> None:
        self._runs: dict[str, RunOnBoard] = {}
        self._roster = Roster(self._runs)
        self._attempts = Attempts(self._runs, self._roster)
        self._roots: dict[tuple[str, str], float] = {}

    # what is there

    @property
    def phones(self) -> Mapping[str, PhoneStanding]:
        """All that have been announced, by name; of very many not those that are gone longest."""
        return self._roster.phones

    @property
    def runs(self) -> Mapping[str, BoardRun]:
        return {run_id: run.run for run_id, run in self._runs.items()}

    def standing(self, run_id: str) -> RunOnBoard:
        """For the forecast. Raises KeyError for a run that the board does not have."""
        return self._runs[run_id]

    def counts(self, run_id: str) -> dict[TrialStanding, int]:
        """Of the trials that it was given, how many are in each state."""
        counts = self._runs[run_id].counts
        return {state: counts[state] for state in TrialStanding}

    def is_over(self, run_id: str) -> bool:
        """Whether none waits and none runs; also of a run that the board does not have."""
        return run_id not in self._runs or self._runs[run_id].is_over

    def phones_of(self, run_id: str) -> list[str]:
        """Names of those that its target means, gone ones too."""
        target = self._runs[run_id].run.target
        return [name for name, phone in self.phones.items() if target.means(phone.said)]

    def state_word(self, phone: str, now_s: float) -> str:
        """For `PhoneView.state`."""
        return standing_word(self.phones[phone], now_s)

    def may_take(self, phone: str) -> bool:
        """Whether it takes trials, now or when it is free again."""
        return self._roster.may_take(phone)

    def quiet(self, now_s: float) -> list[str]:
        """Phones that were not heard of for too long: they are to be lost."""
        return self._roster.quiet(now_s)

    def given_up(self, run_id: str) -> list[tuple[JobId, str]]:
        """Trials without a result, each with its last attempt and the reason."""
        run = self._runs[run_id]
        given_up = (trial for trial in run.trials.values() if trial.state is TrialStanding.GIVEN_UP)
        return [(run.job(trial), trial.tried_text()) for trial in given_up]

    def take_changes(self) -> list[Change]:
        """What the ledger has to keep, in order; before the assignments of the same moment are carried out."""
        changes, self._attempts.changes = self._attempts.changes, []
        return changes

    def take_events(self) -> list[BoardEvent]:
        events, self._attempts.events = self._attempts.events, []
        return events

    def take_marks(self) -> list[Mark]:
        """Phones and hosts whose mark has changed, to be kept; one that says nothing is to be forgotten."""
        return self._roster.marks.take_changes()

    # runs

    def add_run(
        self,
        run: BoardRun,
        trials: Iterable[BoardTrial],
        now_s: float,
        under_way: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        """The trials that are left of it.

        `under_way`: those, by case and ordinal, that were running when the hub ended, each with its phone: they run
        with the attempt that they say, until that phone says otherwise or is not heard of for `RESTART_GRACE_S`.
        """
        standing = self._runs[run.run_id] = RunOnBoard(run, trials)
        self._roster.runs_changed()
        for trial in standing.trials.values():
            phone = (under_way or {}).get(trial.key)
            if phone is None:
                standing.queue.put(trial.waiting)
                continue
            standing.enter(trial, TrialStanding.RUNNING)
            trial.phone, trial.assigned_s = phone, now_s
            standing.queue.running_s += trial.waiting.takes_s
            self._attempts.wait(standing, trial, now_s + RESTART_GRACE_S, "its phone did not come back to the hub")
            known = self.phones.get(phone)
            if known is not None and known.gone is None:
                self._recall(known, now_s)
        self._roster.seat_all_of(standing)

    def cancel(self, run_id: str, by: str = "") -> None:
        """Its waiting trials are given up; those under way end, and are not repeated."""
        run = self._runs[run_id]
        run.cancelled = f"{CANCELLED} by {by}" if by else CANCELLED
        for trial in run.trials.values():
            if trial.state is TrialStanding.WAITING:
                self._attempts.give_up(run, trial, run.cancelled, GivenUpBy.CANCELLED)

    def forget(self, run_id: str) -> None:
        """A run that is over is no more on the board; a record that comes now is unknown to it."""
        if (run := self._runs.get(run_id)) is not None and run.is_over:
            del self._runs[run_id]
            self._roster.suspects.forget(run_id)
            self._roster.runs_changed()

    # phones

    def announce(self, said: Announcement, now_s: float) -> None:
        """A phone comes, returns, or tells news. Raises HarnessError for one too many; nothing has changed then."""
        phone = self.phones.get(said.phone)
        if phone is None:
            phone = self._roster.meet(said, now_s)
            self._recall(phone, now_s)
        former = self._roster.hear(phone, said, now_s)
        self._reconcile(phone, former, now_s)
        if said.state is PhoneState.FREE and said.job is None:
            self._roster.is_free(phone, now_s)
        self._roster.seat(said.phone)

    def _recall(self, phone: PhoneStanding, now_s: float) -> None:
        """The phone is back, and some trials were running on it when the hub ended: if they have ended since, their
        records are on the way."""
        for run, trial, until_s in self._attempts.awaited_from(phone.said.phone):
            if phone.said.job != run.job(trial):
                soon_s = min(until_s, now_s + START_GRACE_S)
                self._attempts.wait(run, trial, soon_s, "its phone came back to the hub without it")

    def _reconcile(self, phone: PhoneStanding, former: Announcement, now_s: float) -> None:
        """What the phone says it does, against what the board believes."""
        said = phone.said
        if said.job is not None and said.job != phone.job:
            found = self._attempts.running(said.job)
            if found is not None and found[1].phone == said.phone and phone.job is None:
                self._attempts.wait_no_more(*found)
                self._roster.give(phone, said.job, found[1].assigned_s)
        if phone.job is None:
            return
        if said.job == phone.job:
            phone.without_s = None
            return
        found = self._attempts.running(phone.job)
        if found is None:
            # its record has come, or another attempt counts
            if said.state is not PhoneState.BUSY:
                self._roster.release(phone)
            return
        if former.pid != said.pid:
            self._attempts.lose_on(phone, "the phone's process is another one")
        elif phone.without_s is None:
            phone.without_s = now_s
        elif now_s - max(phone.without_s, phone.assigned_s) >= START_GRACE_S:
            self._attempts.lose_on(phone, f"the phone is not at it: {said.state.value} {said.note}".strip())

    def lose(self, phone: str, reason: str, now_s: float) -> None:
        """Its process has ended or is silent, or the phone was unplugged."""
        known = self.phones.get(phone)
        if known is None:
            return
        known.gone = reason
        if known.job is not None:
            self._attempts.lose_on(known, reason)
        self._roster.seat(phone)

    def drain(self, what: str, words: str | None) -> list[str]:
        """A phone or all of a host take no more trials (None: they do again); the phones that are meant."""
        return self._roster.drain(what, words)

    def reserve(self, phone: str, until_s: float | None, by: str, why: str = "") -> None:
        """It is somebody's until then (None: nobody's)."""
        self._roster.reserve(phone, until_s, by, why)

    def restore(self, mark: Mark) -> None:
        """What was kept of a phone or a host by an earlier hub; before it is announced."""
        self._roster.restore(mark)

    def orders(self, phone: str, now_s: float) -> Orders:
        """What a phone that has just announced itself is told to do."""
        return self._roster.orders(phone, now_s)

    def examined(self, phone: str, passed: bool, words: str, now_s: float) -> None:
        """What `doctor` found of a phone that is out."""
        self._roster.examined(phone, passed, words, now_s)

    # jobs

    def assign(self, now_s: float) -> list[Assignment]:
        """A trial for each phone that can take one; also lets go what was waited for in vain."""
        self._roster.let_go(now_s)
        self._attempts.lose_overdue(now_s)
        given = []
        for name in self._roster.to_ask(now_s):
            if (found := self._take(name, now_s)) is not None:
                given.append(self._assigned(self.phones[name], *found, now_s))
            else:
                self._roster.deny(name, now_s)
        return given

    def _root_s(self, name: str, now_s: float) -> float:
        said = self.phones[name].said
        if said.usb_root is None:
            return 0.0
        return max(0.0, self._roots.get((said.host, said.usb_root), 0.0) - now_s)

    def _take(self, name: str, now_s: float) -> tuple[RunOnBoard, TrialOnBoard] | None:
        phone, root_s = self.phones[name], self._root_s(name, now_s)
        idle_s = 0.0 if phone.denied_s is None else now_s - phone.denied_s
        for run in self._roster.runs_for(name):
            if run.queue and (taken := run.queue.take(name, root_s, idle_s)) is not None:
                return run, run.trials[taken.case, taken.ordinal]
        return None

    def _assigned(self, phone: PhoneStanding, run: RunOnBoard, trial: TrialOnBoard, now_s: float) -> Assignment:
        said = phone.said
        job = self._attempts.begin(run, trial, phone, now_s)
        if trial.planned.model not in phone.models:
            phone.models.add(trial.planned.model)
            if said.usb_root is not None:
                root = (said.host, said.usb_root)
                self._roots[root] = max(now_s, self._roots.get(root, 0.0)) + (trial.planned.push_s or 0.0)
            for other in self._roster.runs_for(said.phone):
                other.queue.gained(said.phone, trial.planned.model)
        return Assignment(job, said.phone, said.worker)

    def report(self, phone: str, report: JobReport, now_s: float) -> None:
        """How a phone's process ended with a job."""
        known = self.phones.get(phone)
        if known is None or known.job != report.job:
            return
        self._roster.release(known)
        found = self._attempts.running(report.job)
        if found is not None and found[1].phone == phone:
            run, trial = found
            if report.end in (JobEnd.NOT_HAD, JobEnd.BUSY):
                self._roster.not_had(known, now_s)
                self._attempts.wait_again(run, trial, report.reason or report.end.value)
            elif report.end is JobEnd.REFUSED:
                trial.tried.append((trial.attempt, phone, report.reason))
                self._attempts.give_up(run, trial, report.reason, GivenUpBy.REFUSED)
            else:
                known.not_had = 0
                known.rests_until_s = now_s + trial.planned.pause_s
                self._attempts.wait(run, trial, now_s + RECORD_GRACE_S, "its record did not come")
        else:
            run_known = self._runs.get(report.job.run_id)
            key = (report.job.case, report.job.ordinal)
            if run_known is not None and key in run_known.trials:
                known.rests_until_s = now_s + run_known.trials[key].planned.pause_s
        self._roster.seat(phone)

    def judge(self, job: JobId, outcome: str, family: Family, expected: str | None, cut_short: bool) -> Taken:
        """What a record that has come would be to its trial; nothing is changed."""
        run = self._runs.get(job.run_id)
        if run is None or (job.case, job.ordinal) not in run.trials:
            return Taken.UNKNOWN
        trial = run.trials[job.case, job.ordinal]
        if trial.state is not TrialStanding.RUNNING or trial.attempt != job.attempt:
            return Taken.LATE
        spoilt = (cut_short or family in _HARMFUL) and outcome != expected
        again = spoilt and run.cancelled is None and trial.attempt < run.run.attempts
        return Taken.RETRY if again else Taken.RESULT

    def took(
        self,
        job: JobId,
        taken: Taken,
        phone: str,
        trial_id: str | None,
        outcome: str,
        family: Family,
        reason: str,
        now_s: float,
        *,
        expected: str | None = None,
    ) -> None:
        """The record is kept as `judge` said; `trial_id` is the record's."""
        run = self._runs.get(job.run_id)
        if run is None or (job.case, job.ordinal) not in run.trials or taken is Taken.UNKNOWN:
            return
        trial = run.trials[job.case, job.ordinal]
        known = self.phones.get(phone)
        if taken is Taken.LATE or trial.state is not TrialStanding.RUNNING or trial.attempt != job.attempt:
            self._attempts.events.append(BoardEvent(job.run_id, "late", job, phone, outcome, expected, reason))
            return
        words = f"{outcome}: {reason}" if reason else outcome
        harmed = taken is Taken.RETRY or (family in _HARMFUL and outcome != expected)
        if known is not None:
            known.done += 1
            if harmed:
                self._attempts.strike(known, run, trial, words)
            else:
                known.strikes.clear()
                known.struck_by.clear()
        if not harmed:
            self._roster.suspects.fine((job.run_id, job.case))
            if trial.planned.duration_s is None:
                run.learn(trial, now_s - trial.assigned_s)
        self._attempts.events.append(BoardEvent(job.run_id, "ended", job, phone, outcome, expected, reason))
        if taken is Taken.RETRY:
            self._attempts.again(run, trial, phone, words)
        else:
            self._attempts.done(run, trial, phone, trial_id)

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
from dataclasses import replace

from harness.core.outcome import Family
from harness.farm.board_phones import (
    EXAMINE_AGAIN_S,
    Marks,
    Suspects,
    acquit,
    is_reserved,
    standing_word,
    strike,
)
from harness.farm.board_runs import RunStanding, TrialStanding
from harness.farm.board_words import (
    Assignment,
    BoardEvent,
    BoardRun,
    BoardTrial,
    Change,
    Mark,
    PhoneStanding,
    Taken,
    TrialState,
)
from harness.farm.wire import Announcement, JobEnd, JobId, JobReport, Orders, PhoneState

START_GRACE_S = 15.0
"""A phone that says for so long that it is not at the job it was given has lost it."""
RESTART_GRACE_S = 60.0
"""So long a trial that was running when the hub ended waits for its phone to be heard of again."""
RECORD_GRACE_S = 600.0
"""So long a trial that has ended, as its phone said, waits for its record."""
SILENT_S = 20.0
"""A phone not heard of for so long is lost."""
NOT_HAD_PAUSE_S = 5.0
"""A phone that was not to be had is tried again after so long, or when it says that it is free."""
NOT_HAD_LEAST_S, NOT_HAD_MOST_S = 1.0, 60.0
"""It is not tried sooner whatever it says; twice as late each time."""
ASK_AGAIN_S = 10.0
"""So often a phone that got nothing is looked at again, when nothing else has changed."""

_HARMFUL = (Family.DEVICE, Family.HOST)


class Board:
    """The coordinator is its only user, from one thread."""

    def __init__(self) -> None:
        self._runs: dict[str, RunStanding] = {}
        self._phones: dict[str, PhoneStanding] = {}
        self._runs_of: dict[str, list[RunStanding]] = {}
        self._idle: set[str] = set()
        self._reserved: set[str] = set()
        self._denied: set[str] = set()
        self._denied_at = 0
        self._asked_s = 0.0
        self._paused: set[str] = set()
        self._deadlines: dict[tuple[str, str, int], tuple[float, str]] = {}
        self._roots: dict[tuple[str, str], float] = {}
        self._marks = Marks()
        self._suspects = Suspects()
        self._changes: list[Change] = []
        self._events: list[BoardEvent] = []

    # what is there

    @property
    def phones(self) -> Mapping[str, PhoneStanding]:
        """All that have ever been announced, by name."""
        return self._phones

    @property
    def runs(self) -> Mapping[str, BoardRun]:
        return {run_id: run.run for run_id, run in self._runs.items()}

    def standing(self, run_id: str) -> RunStanding:
        """For the forecast. Raises KeyError for a run that the board does not have."""
        return self._runs[run_id]

    def counts(self, run_id: str) -> dict[TrialState, int]:
        """Of the trials that it was given, how many are in each state."""
        counts = self._runs[run_id].counts
        return {state: counts[state] for state in TrialState}

    def is_over(self, run_id: str) -> bool:
        """Whether none waits and none runs; also of a run that the board does not have."""
        return run_id not in self._runs or self._runs[run_id].is_over

    def phones_of(self, run_id: str) -> list[str]:
        """Names of those that its target means, gone ones too."""
        target = self._runs[run_id].run.target
        return [name for name, phone in self._phones.items() if target.means(phone.said)]

    def state_word(self, phone: str, now_s: float) -> str:
        """For `PhoneView.state`."""
        return standing_word(self._phones[phone], now_s)

    def may_take(self, phone: str) -> bool:
        """Whether it takes trials, now or when it is free again."""
        known = self._phones[phone]
        if known.gone is not None or known.out is not None or known.drained is not None:
            return False
        if known.reserved_until_s is not None or phone in self._paused:
            return False
        return known.job is not None or known.said.state is PhoneState.FREE

    def quiet(self, now_s: float) -> list[str]:
        """Phones that were not heard of for too long: they are to be lost."""
        limit_s = now_s - SILENT_S
        return [name for name, phone in self._phones.items() if phone.heard_s < limit_s and phone.gone is None]

    def given_up(self, run_id: str) -> list[tuple[JobId, str]]:
        """Trials without a result, each with its last attempt and the reason."""
        run = self._runs[run_id]
        return [
            (run.job(trial), trial.tried_text()) for trial in run.trials.values() if trial.state is TrialState.GIVEN_UP
        ]

    def take_changes(self) -> list[Change]:
        """What the ledger has to keep, in order; before the assignments of the same moment are carried out."""
        changes, self._changes = self._changes, []
        return changes

    def take_events(self) -> list[BoardEvent]:
        events, self._events = self._events, []
        return events

    def take_marks(self) -> list[Mark]:
        """Phones and hosts whose mark has changed, to be kept; one that says nothing is to be forgotten."""
        return self._marks.take_changes()

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
        standing = self._runs[run.run_id] = RunStanding(run, trials)
        self._runs_of.clear()
        self._denied_at = -1
        for trial in standing.trials.values():
            phone = (under_way or {}).get(trial.key)
            if phone is None:
                standing.queue.put(trial.waiting)
                continue
            standing.enter(trial, TrialState.RUNNING)
            trial.phone, trial.assigned_s = phone, now_s
            standing.queue.running_s += trial.waiting.takes_s
            self._wait(standing, trial, now_s + RESTART_GRACE_S, "its phone did not come back to the hub")
            known = self._phones.get(phone)
            if known is not None and known.gone is None:
                self._recall(known, now_s)
        for name, known in self._phones.items():
            if run.target.means(known.said):
                self._seat(name, known)

    def cancel(self, run_id: str, by: str = "") -> None:
        """Its waiting trials are given up; those under way end, and are not repeated."""
        run = self._runs[run_id]
        run.cancelled = f"cancelled by {by}" if by else "cancelled"
        for trial in run.trials.values():
            if trial.state is TrialState.WAITING:
                self._give_up(run, trial, run.cancelled)

    def forget(self, run_id: str) -> None:
        """A run that is over is no more on the board; a record that comes now is unknown to it."""
        if (run := self._runs.get(run_id)) is not None and run.is_over:
            del self._runs[run_id]
            self._suspects.forget(run_id)
            self._runs_of.clear()

    # phones

    def announce(self, said: Announcement, now_s: float) -> None:
        """A phone comes, returns, or tells news."""
        name = said.phone
        phone = self._phones.get(name)
        if phone is None:
            phone = self._phones[name] = PhoneStanding(said, now_s)
            self._take_on(phone)
            self._recall(phone, now_s)
        former, phone.said, phone.heard_s, phone.gone = phone.said, said, now_s, None
        if (former.product_type, former.kind, former.udid, former.word, former.host) != (
            (said.product_type, said.kind, said.udid, said.word, said.host)
        ):
            self._runs_of.pop(name, None)
            self._take_on(phone)
        phone.models.update(said.models)
        self._reconcile(phone, former, now_s)
        if said.state is PhoneState.FREE and said.job is None:
            if phone.job is None:
                phone.rests_until_s = now_s + said.ready_in_s
            if name in self._paused and now_s >= phone.not_before_s - NOT_HAD_PAUSE_S + NOT_HAD_LEAST_S:
                self._paused.discard(name)
        self._seat(name, phone)

    def _take_on(self, phone: PhoneStanding) -> None:
        said = phone.said
        own, host = self._marks[said.phone], self._marks[said.host]
        phone.drained = own.drained if own.drained is not None else host.drained
        phone.reserved_until_s, phone.reserved_by = own.reserved_until_s, own.reserved_by
        phone.out = own.out

    def _recall(self, phone: PhoneStanding, now_s: float) -> None:
        """The phone is back, and some trials were running on it when the hub ended: if they have ended since, their
        records are on the way."""
        for (run_id, case, ordinal), (until_s, _) in list(self._deadlines.items()):
            run = self._runs[run_id]
            trial = run.trials[case, ordinal]
            if trial.phone == phone.said.phone and phone.said.job != run.job(trial):
                until_s = min(until_s, now_s + START_GRACE_S)
                self._wait(run, trial, until_s, "its phone came back to the hub without it")

    def _reconcile(self, phone: PhoneStanding, former: Announcement, now_s: float) -> None:
        """What the phone says it does, against what the board believes."""
        said = phone.said
        if said.job is not None and said.job != phone.job:
            found = self._running(said.job)
            if found is not None and found[1].phone == said.phone and phone.job is None:
                self._deadlines.pop((said.job.run_id, *found[1].key), None)
                self._give(phone, said.job, found[1].assigned_s)
        if phone.job is None:
            return
        if said.job == phone.job:
            phone.without_s = None
            return
        found = self._running(phone.job)
        if found is None:
            # its record has come, or another attempt counts
            if said.state is not PhoneState.BUSY:
                self._release(phone)
            return
        if former.pid != said.pid:
            self._lost(phone, "the phone's process is another one", now_s)
        elif phone.without_s is None:
            phone.without_s = now_s
        elif now_s - max(phone.without_s, phone.assigned_s) >= START_GRACE_S:
            self._lost(phone, f"the phone is not at it: {said.state.value} {said.note}".strip(), now_s)

    def lose(self, phone: str, reason: str, now_s: float) -> None:
        """Its process has ended or is silent, or the phone was unplugged."""
        known = self._phones.get(phone)
        if known is None:
            return
        known.gone = reason
        if known.job is not None:
            self._lost(known, reason, now_s)
        self._seat(phone, known)

    def drain(self, what: str, words: str | None) -> list[str]:
        """A phone or all of a host take no more trials (None: they do again); the phones that are meant."""
        self._marks.keep(replace(self._marks[what], drained=words))
        meant = [name for name, phone in self._phones.items() if what in (name, phone.said.host)]
        for name in meant:
            phone = self._phones[name]
            own, host = self._marks[name].drained, self._marks[phone.said.host].drained
            phone.drained = own if own is not None else host
            self._seat(name, phone)
        return meant

    def reserve(self, phone: str, until_s: float | None, by: str) -> None:
        """It is somebody's until then (None: nobody's)."""
        by = by if until_s is not None else ""
        self._marks.keep(replace(self._marks[phone], reserved_until_s=until_s, reserved_by=by))
        self._reserved.discard(phone)
        if until_s is not None:
            self._reserved.add(phone)
        if (known := self._phones.get(phone)) is not None:
            known.reserved_until_s, known.reserved_by = until_s, by
            self._seat(phone, known)

    def restore(self, mark: Mark) -> None:
        """What was kept of a phone or a host by an earlier hub; before it is announced."""
        self._marks.keep(mark, tell=False)
        if mark.reserved_until_s is not None:
            self._reserved.add(mark.what)

    def orders(self, phone: str, now_s: float) -> Orders:
        """What a phone that has just announced itself is told to do."""
        known = self._phones.get(phone)
        if known is None or known.out is None or known.job is not None or known.said.state is not PhoneState.FREE:
            return Orders()
        if is_reserved(known, now_s) or now_s < known.examine_at_s:
            return Orders()
        first = known.examined == 0
        known.examine_at_s = now_s + EXAMINE_AGAIN_S[min(known.examined, len(EXAMINE_AGAIN_S) - 1)]
        known.examined += 1
        return Orders(examine=True, cycle_usb=first)

    def examined(self, phone: str, passed: bool, words: str, now_s: float) -> None:
        """What `doctor` found of a phone that is out."""
        known = self._phones.get(phone)
        if known is None or known.out is None:
            return
        if passed:
            self._set_out(known, None)
            known.rests_until_s = now_s
        else:
            self._set_out(known, f"doctor: {words}")
        self._seat(phone, known)

    def _set_out(self, phone: PhoneStanding, why: str | None) -> None:
        if (why is None) != (phone.out is None):
            phone.examined, phone.examine_at_s = 0, 0.0
        if why is None:
            phone.strikes.clear()
            phone.struck_by.clear()
        phone.out = why
        self._marks.keep(replace(self._marks[phone.said.phone], out=why))

    # jobs

    def assign(self, now_s: float) -> list[Assignment]:
        """A trial for each phone that can take one; also lets go what was waited for in vain."""
        self._let_go(now_s)
        version = sum(run.queue.version for run in self._runs.values())
        if version != self._denied_at or now_s - self._asked_s >= ASK_AGAIN_S:
            self._denied_at, self._asked_s = version, now_s
            self._idle |= self._denied
            self._denied.clear()
        given = []
        for name in sorted(self._idle):
            phone = self._phones[name]
            if now_s < phone.rests_until_s:
                continue
            if (found := self._take(name, now_s)) is not None:
                given.append(self._assigned(phone, *found, now_s))
            else:
                self._idle.discard(name)
                self._denied.add(name)
                if not any(run.queue for run in self._runs_for(name)):
                    phone.denied_s = None
                elif phone.denied_s is None:
                    phone.denied_s = now_s
        return given

    def _root_s(self, name: str, now_s: float) -> float:
        said = self._phones[name].said
        if said.usb_root is None:
            return 0.0
        return max(0.0, self._roots.get((said.host, said.usb_root), 0.0) - now_s)

    def _take(self, name: str, now_s: float) -> tuple[RunStanding, TrialStanding] | None:
        phone, root_s = self._phones[name], self._root_s(name, now_s)
        idle_s = 0.0 if phone.denied_s is None else now_s - phone.denied_s
        for run in self._runs_for(name):
            if run.queue and (taken := run.queue.take(name, root_s, idle_s)) is not None:
                return run, run.trials[taken.case, taken.ordinal]
        return None

    def _assigned(self, phone: PhoneStanding, run: RunStanding, trial: TrialStanding, now_s: float) -> Assignment:
        said = phone.said
        run.enter(trial, TrialState.RUNNING)
        trial.phone, trial.assigned_s = said.phone, now_s
        job = run.job(trial)
        self._give(phone, job, now_s)
        if trial.planned.model not in phone.models:
            phone.models.add(trial.planned.model)
            if said.usb_root is not None:
                root = (said.host, said.usb_root)
                self._roots[root] = max(now_s, self._roots.get(root, 0.0)) + (trial.planned.push_s or 0.0)
            for other in self._runs_for(said.phone):
                other.queue.gained(said.phone, trial.planned.model)
        self._changes.append(Change(job, TrialState.RUNNING, said.phone, said.host))
        self._events.append(BoardEvent(run.run.run_id, "begun", job, said.phone))
        return Assignment(job, said.phone, said.worker)

    def report(self, phone: str, report: JobReport, now_s: float) -> None:
        """How a phone's process ended with a job."""
        known = self._phones.get(phone)
        if known is None or known.job != report.job:
            return
        self._release(known)
        found = self._running(report.job)
        if found is not None and found[1].phone == phone:
            run, trial = found
            if report.end in (JobEnd.NOT_HAD, JobEnd.BUSY):
                known.not_had += 1
                least_s = min(NOT_HAD_MOST_S, NOT_HAD_LEAST_S * 2 ** min(known.not_had - 1, 9))
                known.not_before_s = now_s + least_s + NOT_HAD_PAUSE_S - NOT_HAD_LEAST_S
                self._paused.add(phone)
                self._wait_again(run, trial, report.reason or report.end.value)
            elif report.end is JobEnd.REFUSED:
                trial.tried.append((trial.attempt, phone, report.reason))
                self._give_up(run, trial, report.reason)
            else:
                known.not_had = 0
                known.rests_until_s = now_s + trial.planned.pause_s
                self._wait(run, trial, now_s + RECORD_GRACE_S, "its record did not come")
        else:
            run_known = self._runs.get(report.job.run_id)
            key = (report.job.case, report.job.ordinal)
            if run_known is not None and key in run_known.trials:
                known.rests_until_s = now_s + run_known.trials[key].planned.pause_s
        self._seat(phone, known)

    def judge(self, job: JobId, outcome: str, family: Family, expected: str | None, cut_short: bool) -> Taken:
        """What a record that has come would be to its trial; nothing is changed."""
        run = self._runs.get(job.run_id)
        if run is None or (job.case, job.ordinal) not in run.trials:
            return Taken.UNKNOWN
        trial = run.trials[job.case, job.ordinal]
        if trial.state is not TrialState.RUNNING or trial.attempt != job.attempt:
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
        known = self._phones.get(phone)
        if taken is Taken.LATE or trial.state is not TrialState.RUNNING or trial.attempt != job.attempt:
            self._events.append(BoardEvent(job.run_id, "late", job, phone, outcome, expected, reason))
            return
        words = f"{outcome}: {reason}" if reason else outcome
        harmed = taken is Taken.RETRY or (family in _HARMFUL and outcome != expected)
        if known is not None:
            known.done += 1
            if harmed:
                self._strike(known, run, trial, words)
            else:
                known.strikes.clear()
                known.struck_by.clear()
        if not harmed:
            self._suspects.fine((job.run_id, job.case))
            if trial.planned.duration_s is None:
                run.learn(trial, now_s - trial.assigned_s)
        self._events.append(BoardEvent(job.run_id, "ended", job, phone, outcome, expected, reason))
        if taken is Taken.RETRY:
            self._again(run, trial, phone, words)
            return
        self._ended(run, trial)
        run.enter(trial, TrialState.DONE)
        host = known.said.host if known is not None else None
        self._changes.append(Change(job, TrialState.DONE, phone, host, trial_id))

    # what follows from it

    def _running(self, job: JobId) -> tuple[RunStanding, TrialStanding] | None:
        """The trial, if that attempt of it is under way."""
        run = self._runs.get(job.run_id)
        trial = run.trials.get((job.case, job.ordinal)) if run is not None else None
        if run is None or trial is None or trial.state is not TrialState.RUNNING or trial.attempt != job.attempt:
            return None
        return run, trial

    def _lost(self, phone: PhoneStanding, why: str, now_s: float) -> None:
        assert phone.job is not None
        job = phone.job
        self._release(phone)
        if (found := self._running(job)) is None:
            return
        self._lose_attempt(*found, phone.said.phone, why)

    def _lose_attempt(self, run: RunStanding, trial: TrialStanding, phone: str, why: str) -> None:
        self._events.append(BoardEvent(run.run.run_id, "lost", run.job(trial), phone, text=why))
        if (known := self._phones.get(phone)) is not None:
            self._strike(known, run, trial, f"lost: {why}")
        self._again(run, trial, phone, why)

    def _again(self, run: RunStanding, trial: TrialStanding, phone: str, why: str) -> None:
        """The attempt is over without a result."""
        trial.tried.append((trial.attempt, phone, why))
        trial.waiting.failed_on.add(phone)
        if run.cancelled is not None:
            self._give_up(run, trial, run.cancelled)
        elif trial.attempt >= run.run.attempts:
            self._give_up(run, trial, trial.tried_text())
        else:
            trial.attempt += 1
            self._wait_again(run, trial, why)

    def _wait_again(self, run: RunStanding, trial: TrialStanding, why: str) -> None:
        if run.cancelled is not None:
            self._give_up(run, trial, run.cancelled)
            return
        self._ended(run, trial)
        run.enter(trial, TrialState.WAITING)
        self._changes.append(Change(run.job(trial), TrialState.WAITING, reason=why))

    def _give_up(self, run: RunStanding, trial: TrialStanding, why: str) -> None:
        job, phone = run.job(trial), trial.phone
        if trial.state is TrialState.RUNNING:
            self._ended(run, trial)
        if not trial.tried:
            trial.tried.append((trial.attempt, phone or "no phone", why))
        run.enter(trial, TrialState.GIVEN_UP)
        self._changes.append(Change(job, TrialState.GIVEN_UP, phone, reason=why))
        self._events.append(BoardEvent(run.run.run_id, "given_up", job, phone, text=why))

    def _ended(self, run: RunStanding, trial: TrialStanding) -> None:
        run.queue.running_s = max(0.0, run.queue.running_s - trial.waiting.takes_s)
        self._deadlines.pop((run.run.run_id, *trial.key), None)

    def _strike(self, phone: PhoneStanding, run: RunStanding, trial: TrialStanding, why: str) -> None:
        case = (run.run.run_id, trial.planned.case)
        if self._suspects.spoilt(case, phone.said.phone):
            acquit(self._phones.values(), case)
            return
        if strike(phone, (run.run.run_id, *trial.key), f"{trial.planned.case}#{trial.planned.ordinal}: {why}"):
            text = f"{phone.said.phone} takes no more trials until it passes doctor: {'; '.join(phone.strikes)}"
            self._set_out(phone, "; ".join(phone.strikes))
            self._events.append(BoardEvent(run.run.run_id, "note", None, phone.said.phone, text=text))
            self._seat(phone.said.phone, phone)

    def _wait(self, run: RunStanding, trial: TrialStanding, until_s: float, why: str) -> None:
        self._deadlines[run.run.run_id, *trial.key] = (until_s, why)

    def _let_go(self, now_s: float) -> None:
        for name in list(self._reserved):
            if now_s >= (self._marks[name].reserved_until_s or 0.0):
                self.reserve(name, None, "")
        for name in [name for name in self._paused if now_s >= self._phones[name].not_before_s]:
            self._paused.discard(name)
            self._seat(name, self._phones[name])
        due = [key for key, (until_s, _) in self._deadlines.items() if now_s >= until_s]
        for key in due:
            run_id, case, ordinal = key
            _, why = self._deadlines.pop(key)
            run = self._runs[run_id]
            trial = run.trials[case, ordinal]
            assert trial.phone is not None
            self._lose_attempt(run, trial, trial.phone, why)

    def _give(self, phone: PhoneStanding, job: JobId, now_s: float) -> None:
        phone.job, phone.assigned_s, phone.without_s, phone.denied_s = job, now_s, None, None
        self._idle.discard(phone.said.phone)
        self._denied.discard(phone.said.phone)

    def _release(self, phone: PhoneStanding) -> None:
        phone.job, phone.without_s = None, None
        self._seat(phone.said.phone, phone)

    # which phones are asked

    def _runs_for(self, name: str) -> list[RunStanding]:
        runs = self._runs_of.get(name)
        if runs is None:
            said = self._phones[name].said
            runs = [run for run in self._runs.values() if not run.is_over and run.run.target.means(said)]
            runs.sort(key=lambda run: run.order)
            self._runs_of[name] = runs
        return runs

    def _seat(self, name: str, phone: PhoneStanding) -> None:
        """Whether it may take trials at all, and whether it may take one now."""
        willing = self.may_take(name)
        if willing and phone.job is None and phone.said.state is PhoneState.FREE:
            if name not in self._denied:
                self._idle.add(name)
        else:
            self._idle.discard(name)
            self._denied.discard(name)
        for run in self._runs_for(name):
            if not willing:
                run.queue.leave(name)
            elif name not in run.queue.crew or len(phone.models) != run.queue.known(name):
                run.queue.join(name, phone.models)

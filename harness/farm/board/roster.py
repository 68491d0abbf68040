"""The phones of the board: who there are, what is said of them, and which may be given a trial now. Sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.core.errors import HarnessError
from harness.farm.board.phones import EXAMINE_AGAIN_S, Marks, Suspects, acquit, is_reserved, strike
from harness.farm.board.runs import RunOnBoard, TrialOnBoard
from harness.farm.board.words import Mark, PhoneStanding
from harness.farm.wire import Announcement, JobId, Orders, PhoneState

SILENT_S = 20.0
"""A phone not heard of for so long is lost."""
NOT_HAD_PAUSE_S = 5.0
"""A phone that was not to be had is tried again after so long, or when it says that it is free."""
NOT_HAD_LEAST_S, NOT_HAD_MOST_S = 1.0, 60.0
"""It is not tried sooner whatever it says; twice as late each time."""
MAX_PHONES = 10_000
"""That are remembered; beyond, those that are gone longest are forgotten."""
MAX_MODELS_KNOWN = 4096
"""Of one phone; beyond, only what it tells of itself counts."""
ASK_AGAIN_S = 10.0
"""So often a phone that got nothing is looked at again, when nothing else has changed."""


class Roster:
    """The board alone changes it; `runs` are the board's, and only their queues are told of phones."""

    def __init__(self, runs: Mapping[str, RunOnBoard]) -> None:
        self.phones: dict[str, PhoneStanding] = {}
        """All that have been announced, by name."""
        self.marks = Marks()
        self.suspects = Suspects()
        self._runs = runs
        self._runs_of: dict[str, list[RunOnBoard]] = {}
        self._idle: set[str] = set()
        self._denied: set[str] = set()
        """Free ones that got nothing when they were last looked at."""
        self._denied_at = 0
        self._asked_s = 0.0
        self._paused: set[str] = set()
        self._reserved: set[str] = set()

    # who may have a trial

    def may_take(self, name: str) -> bool:
        """Whether it takes trials, now or when it is free again."""
        known = self.phones[name]
        if known.gone is not None or known.out is not None or known.drained is not None:
            return False
        if known.reserved_until_s is not None or name in self._paused:
            return False
        return known.job is not None or known.said.state is PhoneState.FREE

    def quiet(self, now_s: float) -> list[str]:
        """Phones that were not heard of for too long."""
        limit_s = now_s - SILENT_S
        return [name for name, phone in self.phones.items() if phone.heard_s < limit_s and phone.gone is None]

    def runs_for(self, name: str) -> list[RunOnBoard]:
        """Runs that mean it and are not over, the first that goes first."""
        runs = self._runs_of.get(name)
        if runs is None:
            said = self.phones[name].said
            runs = [run for run in self._runs.values() if not run.is_over and run.run.target.means(said)]
            runs.sort(key=lambda run: run.order)
            self._runs_of[name] = runs
        return runs

    def runs_changed(self) -> None:
        """One has come or is gone."""
        self._runs_of.clear()
        self._denied_at = -1

    def seat(self, name: str) -> None:
        """Whether it may take trials at all, and whether it may take one now: after whatever has changed of it."""
        phone = self.phones[name]
        willing = self.may_take(name)
        if willing and phone.job is None and phone.said.state is PhoneState.FREE:
            if name not in self._denied:
                self._idle.add(name)
        else:
            self._idle.discard(name)
            self._denied.discard(name)
        for run in self.runs_for(name):
            if not willing:
                run.queue.leave(name)
            elif name not in run.queue.crew or len(phone.models) != run.queue.known(name):
                run.queue.join(name, phone.models)

    def seat_all_of(self, run: RunOnBoard) -> None:
        """Those that a run means which has just come."""
        for name, phone in self.phones.items():
            if run.run.target.means(phone.said):
                self.seat(name)

    def to_ask(self, now_s: float) -> list[str]:
        """Phones that may be given a trial; those that got nothing only when something has changed since."""
        version = sum(run.queue.version for run in self._runs.values())
        if version != self._denied_at or now_s - self._asked_s >= ASK_AGAIN_S:
            self._denied_at, self._asked_s = version, now_s
            self._idle |= self._denied
            self._denied.clear()
        return [name for name in sorted(self._idle) if now_s >= self.phones[name].rests_until_s]

    def deny(self, name: str, now_s: float) -> None:
        """There is nothing for it."""
        phone = self.phones[name]
        self._idle.discard(name)
        self._denied.add(name)
        if not any(run.queue for run in self.runs_for(name)):
            phone.denied_s = None
        elif phone.denied_s is None:
            phone.denied_s = now_s

    def give(self, phone: PhoneStanding, job: JobId, now_s: float) -> None:
        """It is at the job now."""
        phone.job, phone.assigned_s, phone.without_s, phone.denied_s = job, now_s, None, None
        self._idle.discard(phone.said.phone)
        self._denied.discard(phone.said.phone)

    def release(self, phone: PhoneStanding) -> None:
        """It is at nothing now."""
        phone.job, phone.without_s = None, None
        self.seat(phone.said.phone)

    # what they say

    def meet(self, said: Announcement, now_s: float) -> PhoneStanding:
        """One that was not known. Raises HarnessError when there are too many already, all of them here."""
        if len(self.phones) >= MAX_PHONES:
            gone = [phone for phone in self.phones.values() if phone.gone is not None and phone.job is None]
            if not gone:
                raise HarnessError(f"phone {said.phone}: the farm has {MAX_PHONES} phones already, and takes no more")
            self._forget(min(gone, key=lambda phone: phone.heard_s).said.phone)
        phone = self.phones[said.phone] = PhoneStanding(said, now_s)
        self._mark(phone)
        return phone

    def _forget(self, name: str) -> None:
        """One that is gone: it is met again like any other. What was said of it stays."""
        for run in self.runs_for(name):
            run.queue.leave(name)
        del self.phones[name]
        self._runs_of.pop(name, None)
        for names in (self._idle, self._denied, self._paused):
            names.discard(name)

    def hear(self, phone: PhoneStanding, said: Announcement, now_s: float) -> Announcement:
        """What it says now, and what it said before."""
        former, phone.said, phone.heard_s, phone.gone = phone.said, said, now_s, None
        if (former.product_type, former.kind, former.udid, former.word, former.host) != (
            (said.product_type, said.kind, said.udid, said.word, said.host)
        ):
            self._runs_of.pop(said.phone, None)
            self._mark(phone)
        phone.models.update(said.models)
        if len(phone.models) > MAX_MODELS_KNOWN:
            phone.models = set(said.models)
        return former

    def is_free(self, phone: PhoneStanding, now_s: float) -> None:
        """It has said that it is."""
        if phone.job is None:
            phone.rests_until_s = now_s + phone.said.ready_in_s
        if now_s >= phone.not_before_s - NOT_HAD_PAUSE_S + NOT_HAD_LEAST_S:
            self._paused.discard(phone.said.phone)

    def not_had(self, phone: PhoneStanding, now_s: float) -> None:
        """It was given a job, and could not begin it."""
        phone.not_had += 1
        least_s = min(NOT_HAD_MOST_S, NOT_HAD_LEAST_S * 2 ** min(phone.not_had - 1, 9))
        phone.not_before_s = now_s + least_s + NOT_HAD_PAUSE_S - NOT_HAD_LEAST_S
        self._paused.add(phone.said.phone)

    def let_go(self, now_s: float) -> None:
        """Reservations and pauses that have ended."""
        for name in [name for name in self._reserved if now_s >= (self.marks[name].reserved_until_s or 0.0)]:
            self.reserve(name, None)
        for name in [name for name in self._paused if now_s >= self.phones[name].not_before_s]:
            self._paused.discard(name)
            self.seat(name)

    # what is said of them

    def _mark(self, phone: PhoneStanding) -> None:
        own, host = self.marks[phone.said.phone], self.marks[phone.said.host]
        phone.drained = own.drained if own.drained is not None else host.drained
        phone.reserved_until_s = own.reserved_until_s
        phone.reserved_by, phone.reserved_why = own.reserved_by, own.reserved_why
        phone.out = own.out

    def restore(self, mark: Mark) -> None:
        """What was kept of a phone or a host by an earlier hub; before it is announced."""
        self.marks.keep(mark, tell=False)
        if mark.reserved_until_s is not None:
            self._reserved.add(mark.what)

    def drain(self, what: str, words: str | None) -> list[str]:
        """A phone or all of a host take no more trials (None: they do again); the phones that are meant."""
        self.marks.keep(replace(self.marks[what], drained=words))
        meant = [name for name, phone in self.phones.items() if what in (name, phone.said.host)]
        for name in meant:
            phone = self.phones[name]
            own, host = self.marks[name].drained, self.marks[phone.said.host].drained
            phone.drained = own if own is not None else host
            self.seat(name)
        return meant

    def reserve(self, name: str, until_s: float | None, by: str = "", why: str = "") -> None:
        """It is somebody's until then (None: nobody's)."""
        if until_s is None:
            by = why = ""
        self.marks.keep(replace(self.marks[name], reserved_until_s=until_s, reserved_by=by, reserved_why=why))
        self._reserved.discard(name)
        if until_s is not None:
            self._reserved.add(name)
        if (known := self.phones.get(name)) is not None:
            known.reserved_until_s, known.reserved_by, known.reserved_why = until_s, by, why
            self.seat(name)

    # those that spoil trials

    def struck(self, phone: PhoneStanding, run: RunOnBoard, trial: TrialOnBoard, why: str) -> str | None:
        """A trial was spoilt on it; what to tell when that takes it out."""
        case = (run.run.run_id, trial.planned.case)
        if self.suspects.spoilt(case, phone.said.phone):
            acquit(self.phones.values(), case)
            return None
        if not strike(phone, (run.run.run_id, *trial.key), f"{trial.planned.case}#{trial.planned.ordinal}: {why}"):
            return None
        reasons = "; ".join(phone.strikes)
        self._set_out(phone, reasons)
        self.seat(phone.said.phone)
        return f"{phone.said.phone} takes no more trials until it passes doctor: {reasons}"

    def orders(self, name: str, now_s: float) -> Orders:
        """What a phone that has just announced itself is told to do."""
        known = self.phones.get(name)
        if known is None or known.out is None or known.job is not None or known.said.state is not PhoneState.FREE:
            return Orders()
        if is_reserved(known, now_s) or now_s < known.examine_at_s:
            return Orders()
        first = known.examined == 0
        known.examine_at_s = now_s + EXAMINE_AGAIN_S[min(known.examined, len(EXAMINE_AGAIN_S) - 1)]
        known.examined += 1
        return Orders(examine=True, cycle_usb=first)

    def examined(self, name: str, passed: bool, words: str, now_s: float) -> None:
        """What `doctor` found of a phone that is out."""
        known = self.phones.get(name)
        if known is None or known.out is None:
            return
        if passed:
            self._set_out(known, None)
            known.rests_until_s = now_s
        else:
            self._set_out(known, f"doctor: {words}")
        self.seat(name)

    def _set_out(self, phone: PhoneStanding, why: str | None) -> None:
        if (why is None) != (phone.out is None):
            phone.examined, phone.examine_at_s = 0, 0.0
        if why is None:
            phone.strikes.clear()
            phone.struck_by.clear()
        phone.out = why
        self.marks.keep(replace(self.marks[phone.said.phone], out=why))

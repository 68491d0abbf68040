"""The coordinator: keeps board, ledger and Dask together. Whatever it decides is in the ledger before it is done.

All that touches the board holds one lock; what blocks (database, disk) runs in threads, so that heartbeats go on. A
database that is away holds everything up, and nothing is lost by it: phones go on with what they have.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Family, Outcome
from harness.farm.board import Board
from harness.farm.board_roster import SILENT_S
from harness.farm.board_words import (
    Assignment,
    BoardEvent,
    BoardRun,
    Change,
    Mark,
    Taken,
    Target,
)
from harness.farm.board_words import TrialState as State
from harness.farm.farm_news import Events
from harness.farm.farm_runs import ActiveRun, restored
from harness.farm.forecast import ends_in_s
from harness.farm.intake import Delivered
from harness.farm.submissions import Known, SubmittedSuite, board_trials
from harness.farm.wire import Announcement, JobEnd, JobId, JobReport, Orders, PhoneState, TrialJob
from harness.report.end_words import end_text
from harness.store.errors import StoreError
from harness.store.farm_ledger import FarmLedger, Kept, LedgerPhone, LedgerRun, LedgerTrial, RunStanding

TICK_S = 0.25
HELD_CHECK_S = 5.0
STORE_RETRY_S = 1.0
FORECAST_EVERY_S = 5.0
FORECAST_SHARE = 0.02
"""Of the hub's time, at most, goes into forecasts."""
MAX_UNCONNECTED = 10_000
"""Announcements of phones whose workers have not come yet."""

Tell = Callable[[str], None]
GiveJob = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Runs a job at a worker's address; gives a plain JobReport, or raises."""

_LOG = logging.getLogger(__name__)


class WorkerAway(HarnessError):
    """The worker that a job was meant for is not connected: the job was not begun."""


class Clock:
    """Wall-clock seconds that never go back or jump, whatever is done to the machine's clock."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        """Seconds since 1970, as they were at the hub's start and on."""
        return time.monotonic() + self._ahead_s


class Coordinator:
    """One a hub; `start` it, and `stop` it."""

    def __init__(self, ledger: FarmLedger, give: GiveJob, is_connected: Callable[[str], bool], tell: Tell) -> None:
        self.board = Board()
        self.ledger = ledger
        self.events = Events()
        self.clock = Clock()
        self.runs: dict[str, ActiveRun] = {}
        """Those that are active."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done, with the error, when the hub cannot go on."""
        self._give = give
        self._is_connected = is_connected
        self._tell = tell
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._unkept: list[LedgerTrial] = []
        self._unkept_marks: dict[str, Mark] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._unconnected: dict[str, Announcement] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._ends: dict[str, float | None] = {}
        self._forecast_at_s = 0.0
        self._all_heard_s = self.clock.now_s()
        self._stopping = False

    # life

    async def start(self, restore: Sequence[str] | None = None) -> None:
        """Takes up what an earlier hub left (None: all of its runs). Raises StoreError."""
        await self._restore(restore)
        self._ticking = asyncio.create_task(self._tick_for_ever())

    async def stop(self) -> None:
        """Gives out nothing more; what is under way goes on without us."""
        self._stopping = True
        tasks = [*self._jobs, *([self._ticking] if self._ticking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()

    async def _restore(self, only: Sequence[str] | None) -> None:
        for kept in await asyncio.to_thread(self.ledger.phones):
            self.board.restore(_mark(kept))
        for run in reversed(await asyncio.to_thread(self.ledger.runs, state=RunStanding.ACTIVE.value)):
            if only is not None and run.run_id not in only:
                continue
            try:
                found = await asyncio.to_thread(restored, self.ledger, run)
            except UsageError as error:
                self._tell(f"run {run.run_id} ({run.suite}) is left alone: {error}")
                continue
            active = self.runs[run.run_id] = found.active
            trials = board_trials(active.submitted, found.known, found.left)
            self.board.add_run(active.board_run, trials, self.clock.now_s(), found.under_way)
            if active.cancelled is not None:
                self.board.cancel(run.run_id, active.cancelled)
            self._tell(f"run {run.run_id} ({run.suite} on {run.target}) goes on: {len(found.left)} trials are left")

    async def _tick_for_ever(self) -> None:
        checked_s = self.clock.now_s()
        try:
            while True:
                async with self._lock:
                    await self._tick()
                if self.clock.now_s() - checked_s > HELD_CHECK_S:
                    checked_s = self.clock.now_s()
                    if not await asyncio.to_thread(self.ledger.still_held):
                        raise StoreError(
                            f"{self.ledger.store.address.text}: the database let go of this hub (it was restarted): "
                            "start the hub again; what is under way on the phones goes on"
                        )
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), TICK_S)
                self._woken.clear()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # a hub that gives out nothing more must not look alive
            _LOG.exception("the coordinator cannot go on")
            if not self.failed.done():
                self.failed.set_exception(error)

    async def _tick(self) -> None:
        now_s = self.clock.now_s()
        # who could not be heard for a while because we were held up is not silent
        if now_s - self._all_heard_s > SILENT_S:
            for phone in self.board.quiet(now_s):
                self.board.lose(phone, f"nothing was heard of it for {SILENT_S:g} s", now_s)
        assignments = self.board.assign(now_s)
        await self._keep()
        for assignment in assignments:
            self._submit(assignment)
        await self._end_runs()

    async def _keep(self) -> None:
        """The board's changes into the ledger, in order; waits for a database that is away."""
        for event in self.board.take_events():
            self.events.add(event)
        self._unkept += [self._ledger_trial(change) for change in self.board.take_changes()]
        self._unkept_marks |= {mark.what: mark for mark in self.board.take_marks()}
        began_s, told = self.clock.now_s(), False
        while self._unkept or self._unkept_marks:
            try:
                if self._unkept:
                    await asyncio.to_thread(self.ledger.change, _last_of_each(self._unkept))
                    self._unkept.clear()
                for what in list(self._unkept_marks):
                    await asyncio.to_thread(self.ledger.keep_phone, _ledger_phone(self._unkept_marks[what]))
                    del self._unkept_marks[what]
            except StoreError as error:
                if not await asyncio.to_thread(self.ledger.still_held):
                    raise
                if not told:
                    self._tell(f"the results cannot be written, trying again: {error}")
                    told = True
                await asyncio.sleep(STORE_RETRY_S)
        if self.clock.now_s() - began_s > STORE_RETRY_S:
            self._all_heard_s = self.clock.now_s()

    def _ledger_trial(self, change: Change) -> LedgerTrial:
        job = change.job
        number = self.board.standing(job.run_id).trials[job.case, job.ordinal].planned.number
        return LedgerTrial(
            job.run_id,
            job.case,
            job.ordinal,
            number,
            job.attempt,
            change.state.value,
            change.phone,
            change.host,
            change.trial_id,
            change.reason,
        )

    async def _end_runs(self) -> None:
        for run_id in [run_id for run_id in self.runs if self.board.is_over(run_id)]:
            active = self.runs[run_id]
            state = RunStanding.DONE if active.cancelled is None else RunStanding.CANCELLED
            ended_at = datetime.now(UTC).isoformat(timespec="milliseconds")
            try:
                await asyncio.to_thread(self.ledger.end_run, run_id, state.value, ended_at)
            except StoreError as error:
                self._tell(f"run {run_id}: its end cannot be kept, trying again: {error}")
                return
            del self.runs[run_id]
            self.board.forget(run_id)
            self._tell(f"run {run_id} ({active.run.suite} on {active.run.target}) is {state.value}")

    # jobs

    def _submit(self, assignment: Assignment) -> None:
        active = self.runs.get(assignment.job.run_id)
        if active is None:
            return
        self._begin(self._run_job(assignment, active.job(assignment.job)))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _run_job(self, assignment: Assignment, job: TrialJob) -> None:
        try:
            report = JobReport.read(await self._give(assignment.worker, job.plain()))
        except WorkerAway as error:
            report = JobReport(job=assignment.job, end=JobEnd.NOT_HAD, reason=str(error))
        except Exception as error:  # noqa: BLE001  # whatever a phone's process raised, also what only it knows
            if self._stopping or not self._is_connected(assignment.worker):
                # of a worker that is gone `worker_lost` is told, or nobody
                return
            known = self.board.phones.get(assignment.phone)
            if known is None or known.job != assignment.job:
                # its record came all the same, and by now it is at another
                return
            _LOG.exception("job %s on %s", assignment.job.text, assignment.phone)
            known = self.board.phones.get(assignment.phone)
            if known is not None and known.job == assignment.job:
                await self.lose(assignment.phone, f"its process failed: {type(error).__name__}: {str(error)[:500]}")
            return
        async with self._lock:
            if report.job == assignment.job:
                self.board.report(assignment.phone, report, self.clock.now_s())
        self._woken.set()

    def worker_lost(self, address: str) -> None:
        """A worker's connection is gone, or it was silent for too long."""
        if self._stopping:
            return
        for name, phone in self.board.phones.items():
            if phone.said.worker == address and phone.gone is None:
                self._begin(self.lose(name, "its process was lost: killed, frozen, or cut off", address))

    async def lose(self, phone: str, reason: str, worker: str | None = None) -> None:
        """The phone is gone until it is announced again; unless it has a new worker meanwhile."""
        async with self._lock:
            known = self.board.phones.get(phone)
            if known is None or (worker is not None and known.said.worker != worker):
                return
            if known.gone is None:
                self._tell(f"phone {phone} is gone: {reason}")
            self.board.lose(phone, reason, self.clock.now_s())
        self._woken.set()

    # phones

    def worker_came(self, address: str) -> None:
        """A worker has connected; its phone may have said before that it is free."""
        if (said := self._unconnected.pop(address, None)) is not None:
            self._begin(self._announce_again(said))

    async def _announce_again(self, said: Announcement) -> None:
        async with self._lock:
            known = self.board.phones.get(said.phone)
            if known is not None and known.said.worker == said.worker and known.gone is None:
                self.board.announce(said, self.clock.now_s())
        self._woken.set()

    async def announce(self, said: Announcement) -> Orders:
        """A phone tells how it is."""
        self._unconnected.pop(said.worker, None)
        if said.state is PhoneState.FREE and not self._is_connected(said.worker):
            # its connection for jobs comes, or was just lost
            if len(self._unconnected) > MAX_UNCONNECTED:
                self._unconnected.clear()
            self._unconnected[said.worker] = said
            said = said.model_copy(update={"state": PhoneState.NOT_READY, "note": "not connected for trials yet"})
        async with self._lock:
            known = self.board.phones.get(said.phone)
            if known is None or known.gone is not None:
                self._tell(f"phone {said.phone} ({said.product_type}, iOS {said.os_version}) is here, on {said.host}")
            self.board.announce(said, self.clock.now_s())
            orders = self.board.orders(said.phone, self.clock.now_s())
        if said.state is PhoneState.FREE:
            self._woken.set()
        return orders

    async def examined(self, phone: str, passed: bool, words: str) -> None:
        """What `doctor` found."""
        async with self._lock:
            self.board.examined(phone, passed, words, self.clock.now_s())
            self._tell(f"phone {phone}: doctor {'passed' if passed else f'did not pass: {words}'}")
            await self._keep()
        self._woken.set()

    async def drain(self, what: str, words: str | None) -> None:
        """A phone or a host. Raises UsageError when there is none of the name."""
        async with self._lock:
            names = {name for phone in self.board.phones.values() for name in (phone.said.phone, phone.said.host)}
            if what not in names and words is not None:
                raise UsageError(f"{what}: the farm knows no such phone or host; `harness farm status` shows them")
            self.board.drain(what, words)
            await self._keep()
        self._woken.set()

    async def reserve(self, phone: str, for_s: float, by: str, reason: str) -> None:
        """For a person; 0 s: nobody's. Raises UsageError when there is no such phone, or it is somebody else's."""
        async with self._lock:
            known = self.board.phones.get(phone)
            if known is None:
                raise UsageError(f"{phone}: the farm knows no such phone; `harness farm status` shows them")
            owner = known.reserved_by.partition(":")[0]
            if for_s and known.reserved_until_s is not None and owner != by:
                until = datetime.fromtimestamp(known.reserved_until_s, UTC)
                raise UsageError(f"{phone}: is reserved until {until:%Y-%m-%d %H:%M} UTC by {known.reserved_by}")
            until_s = self.clock.now_s() + for_s if for_s else None
            self.board.reserve(phone, until_s, f"{by}: {reason}" if reason else by)
            await self._keep()
        self._woken.set()

    # runs

    async def add_runs(
        self, runs: Sequence[tuple[LedgerRun, Target, Known]], submitted: SubmittedSuite
    ) -> dict[str, float | None]:
        """Keeps and begins them; seconds from now to the end of each."""
        async with self._lock:
            for run, target, known in runs:
                trials = board_trials(submitted, known)
                board_run = BoardRun(run.run_id, target, run.priority, self.clock.now_s(), run.attempts)
                ledger_trials = [
                    LedgerTrial(run.run_id, one.case, one.ordinal, one.number, one.attempt) for one in trials
                ]
                planned_s = ends_in_s(self.board, self.clock.now_s(), [(board_run, trials)])[run.run_id]
                run = replace(run, planned_s=planned_s)  # what is planned follows from those before it
                await asyncio.to_thread(self.ledger.add_run, run, ledger_trials)
                self.board.add_run(board_run, trials, self.clock.now_s())
                self.runs[run.run_id] = ActiveRun(run, submitted, board_run, {})
            ends = ends_in_s(self.board, self.clock.now_s())
        self._woken.set()
        return {run.run_id: ends[run.run_id] for run, _, _ in runs}

    def foretold(
        self, runs: Sequence[tuple[str, Target, Known]], submitted: SubmittedSuite, asked_priority: int
    ) -> dict[str, float | None]:
        """When runs would end if they were submitted now."""
        now_s = self.clock.now_s()
        also = [
            (BoardRun(run_id, target, asked_priority, now_s, 1), board_trials(submitted, known))
            for run_id, target, known in runs
        ]
        return ends_in_s(self.board, now_s, also)

    async def cancel(self, run_id: str, by: str) -> None:
        """Raises UsageError for a run that is not active."""
        async with self._lock:
            active = self.runs.get(run_id)
            if active is None:
                raise UsageError(f"run {run_id}: is not under way; `harness farm status` shows those that are")
            active.cancelled = by
            self.board.cancel(run_id, by)
            await self._keep()
        self._woken.set()

    def left_s(self, run_id: str) -> float | None:
        """From now to its end, as it was foreseen some seconds ago."""
        now_s = self.clock.now_s()
        if now_s >= self._forecast_at_s:
            self._ends = ends_in_s(self.board, now_s)
            cost_s = self.clock.now_s() - now_s
            self._forecast_at_s = now_s + max(FORECAST_EVERY_S, cost_s / FORECAST_SHARE)
        return self._ends.get(run_id)

    # records

    async def take(self, delivered: Delivered, phone: str) -> Kept:
        """Keeps a record whose files are in their places, as what it is to its trial. Raises StoreError, UsageError."""
        record, job = delivered.record, delivered.job
        assert record.outcome is not None, "checked where it came in"
        family = Family(str(record.outcome_family))
        # of what loaded people want the figures; of the rest, why
        loaded = record.outcome == Outcome.LOADED.value
        reason = end_text(record).partition(": ")[2] if loaded else record.reason or ""
        async with self._lock:
            await self._keep()
            judged = self.board.judge(job, record.outcome, family, record.expected_outcome, record.cut_short)
            why_not = f"the phone or its host spoilt it ({record.outcome}), so it is run again"
            kept = await asyncio.to_thread(
                self.ledger.take,
                record,
                counts=judged is Taken.RESULT,
                why_not=why_not if judged is Taken.RETRY else "",
            )
            taken = await self._settled(judged, kept, job, record.trial_id)
            if job.run_id in self.runs:
                self.board.took(
                    job,
                    taken,
                    phone,
                    record.trial_id,
                    record.outcome,
                    family,
                    reason,
                    self.clock.now_s(),
                    expected=record.expected_outcome,
                )
            elif kept is not Kept.ALREADY:
                text = f"its run is over here: {reason}"
                self.events.add(
                    BoardEvent(job.run_id, "late", job, phone, record.outcome, record.expected_outcome, text)
                )
            await self._keep()
        self._woken.set()
        return kept

    async def _settled(self, judged: Taken, kept: Kept, job: JobId, trial_id: str) -> Taken:
        """What the record is, when ledger and board have not heard the same."""
        if judged is not Taken.RESULT or kept is Kept.RESULT:
            return judged
        if kept is Kept.EVIDENCE:
            return Taken.LATE
        # kept by a hub that ended before it could say so
        standing = {(one.case, one.ordinal): one for one in await asyncio.to_thread(self.ledger.trials, job.run_id)}
        own = standing.get((job.case, job.ordinal))
        return Taken.RESULT if own is not None and own.trial_id == trial_id else Taken.RETRY

    def counts(self, run_id: str) -> dict[State, int]:
        """Of an active run's trials, those that ended before this hub's start too."""
        counts = dict(self.board.counts(run_id))
        for state, before in self.runs[run_id].ended_before.items():
            counts[state] = counts.get(state, 0) + before
        return counts


def _last_of_each(changes: Sequence[LedgerTrial]) -> list[LedgerTrial]:
    """Of several changes of one trial only the last is worth keeping."""
    return list({(one.run_id, one.case, one.ordinal): one for one in changes}.values())


def _mark(kept: LedgerPhone) -> Mark:
    until_s = None if kept.reserved_until is None else datetime.fromisoformat(kept.reserved_until).timestamp()
    return Mark(kept.phone, kept.drained, kept.out, until_s, kept.reserved_by)


def _ledger_phone(mark: Mark) -> LedgerPhone:
    until = None
    if mark.reserved_until_s is not None:
        until = datetime.fromtimestamp(mark.reserved_until_s, UTC).isoformat(timespec="milliseconds")
    return LedgerPhone(mark.what, mark.drained, mark.out, until, mark.reserved_by)

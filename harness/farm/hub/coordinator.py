"""The coordinator: runs begin and end here, trials are given out, and records are taken as what they are to them.

It and the phones' side (`phone_calls.py`) share a board; whatever they decide is in the ledger before it is done
(`desk.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from harness.core.errors import UsageError
from harness.core.outcome import Family, Outcome
from harness.core.standing import Kept, RunStanding, TrialStanding
from harness.farm.board.forecast import KnownEnds, ends_in_s
from harness.farm.board.words import BoardEvent, BoardRun, Taken, Target
from harness.farm.hub.desk import BoardDesk
from harness.farm.hub.intake import Delivered
from harness.farm.hub.phone_calls import PhoneCalls
from harness.farm.hub.runs import ActiveRun, restored
from harness.farm.hub.submissions import KnownOfSuite, SubmittedSuite, board_trials
from harness.farm.wire import JobId
from harness.report.end_words import end_text
from harness.store.errors import StoreError
from harness.store.farm_ledger import LedgerRun, LedgerTrial

TICK_S = 0.25
HELD_CHECK_S = 5.0

_LOG = logging.getLogger(__name__)


class Coordinator:
    """One a hub; `start` it, and `stop` it."""

    def __init__(self, desk: BoardDesk, phones: PhoneCalls) -> None:
        self.desk = desk
        self.phones = phones
        self.board = desk.board
        self.ledger = desk.ledger
        self.clock = desk.clock
        self.runs: dict[str, ActiveRun] = {}
        """Those that are active."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done, with the error, when the hub cannot go on."""
        self._ticking: asyncio.Task[None] | None = None
        self._ends = KnownEnds(self.board)

    # life

    async def start(self, restore: Sequence[str] | None = None) -> None:
        """Takes up what an earlier hub left (None: all of its runs). Raises StoreError."""
        await self._restore(restore)
        self._ticking = asyncio.create_task(self._tick_for_ever())

    async def stop(self) -> None:
        """Gives out nothing more; what is under way goes on without us."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        await self.phones.stop()
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()

    async def _restore(self, only: Sequence[str] | None) -> None:
        await self.desk.restore_marks()
        for run in reversed(await asyncio.to_thread(self.ledger.runs, state=RunStanding.ACTIVE.value)):
            if only is not None and run.run_id not in only:
                continue
            try:
                found = await asyncio.to_thread(restored, self.ledger, run)
            except UsageError as error:
                self.desk.tell(f"run {run.run_id} ({run.suite}) is left alone: {error}")
                continue
            active = self.runs[run.run_id] = found.active
            trials = board_trials(active.submitted, found.known, found.left)
            self.board.add_run(active.board_run, trials, self.clock.now_s(), found.under_way)
            if active.cancelled is not None:
                self.board.cancel(run.run_id, active.cancelled)
            self.desk.tell(f"run {run.run_id} ({run.suite} on {run.target}) goes on: {len(found.left)} trials are left")

    async def _tick_for_ever(self) -> None:
        checked_s = self.clock.now_s()
        try:
            while True:
                async with self.desk.lock:
                    await self._tick()
                if self.clock.now_s() - checked_s > HELD_CHECK_S:
                    checked_s = self.clock.now_s()
                    if not await asyncio.to_thread(self.ledger.still_held):
                        raise StoreError(
                            f"{self.ledger.store.address.text}: the database let go of this hub (it was restarted): "
                            "start the hub again; what is under way on the phones goes on"
                        )
                with suppress(TimeoutError):
                    # `wait_for` may lose the cancellation that ends us, where we are woken at the same time
                    async with asyncio.timeout(TICK_S):
                        await self.desk.woken.wait()
                self.desk.woken.clear()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # a hub that gives out nothing more must not look alive
            _LOG.exception("the coordinator cannot go on")
            if not self.failed.done():
                self.failed.set_exception(error)

    async def _tick(self) -> None:
        self.desk.lose_quiet()
        assignments = self.board.assign(self.clock.now_s())
        await self.desk.keep()
        for assignment in assignments:
            if (active := self.runs.get(assignment.job.run_id)) is not None:
                self.phones.give(assignment, active.job(assignment.job))
        await self._end_runs()

    async def _end_runs(self) -> None:
        for run_id in [run_id for run_id in self.runs if self.board.is_over(run_id)]:
            active = self.runs[run_id]
            state = RunStanding.DONE if active.cancelled is None else RunStanding.CANCELLED
            ended_at = datetime.now(UTC).isoformat(timespec="milliseconds")
            try:
                await asyncio.to_thread(self.ledger.end_run, run_id, state.value, ended_at)
            except StoreError as error:
                self.desk.tell(f"run {run_id}: its end cannot be kept, trying again: {error}")
                return
            del self.runs[run_id]
            self.board.forget(run_id)
            self.desk.tell(f"run {run_id} ({active.run.suite} on {active.run.target}) is {state.value}")

    # runs

    async def add_runs(
        self, runs: Sequence[tuple[LedgerRun, Target, KnownOfSuite]], submitted: SubmittedSuite
    ) -> dict[str, float | None]:
        """Keeps and begins them; seconds from now to the end of each."""
        async with self.desk.lock:
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
        self.desk.woken.set()
        return {run.run_id: ends[run.run_id] for run, _, _ in runs}

    def foretold(
        self, runs: Sequence[tuple[str, Target, KnownOfSuite]], submitted: SubmittedSuite, asked_priority: int
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
        async with self.desk.lock:
            active = self.runs.get(run_id)
            if active is None:
                raise UsageError(f"run {run_id}: is not under way; `harness farm status` shows those that are")
            active.cancelled = by
            self.board.cancel(run_id, by)
            await self.desk.keep()
        self.desk.woken.set()

    def left_s(self, run_id: str) -> float | None:
        """From now to its end, as it was foreseen some seconds ago."""
        return self._ends.of(run_id, self.clock.now_s)

    # records

    async def take(self, delivered: Delivered, phone: str) -> Kept:
        """Keeps a record whose files are in their places, as what it is to its trial. Raises StoreError, UsageError."""
        record, job = delivered.record, delivered.job
        assert record.outcome is not None, "checked where it came in"
        family = Family(str(record.outcome_family))
        # of what loaded people want the figures; of the rest, why
        loaded = record.outcome == Outcome.LOADED.value
        reason = end_text(record).partition(": ")[2] if loaded else record.reason or ""
        async with self.desk.lock:
            await self.desk.keep()
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
                self.desk.events.add(
                    BoardEvent(job.run_id, "late", job, phone, record.outcome, record.expected_outcome, text)
                )
            await self.desk.keep()
        self.desk.woken.set()
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

    def counts(self, run_id: str) -> dict[TrialStanding, int]:
        """Of an active run's trials, those that ended before this hub's start too."""
        counts = dict(self.board.counts(run_id))
        for state, before in self.runs[run_id].ended_before.items():
            counts[state] = counts.get(state, 0) + before
        return counts

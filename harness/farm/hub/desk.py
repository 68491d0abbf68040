"""Where the hub's board lies: one at a time is at it, and what has changed on it is in the ledger before it is done.

What blocks runs in threads, so that heartbeats go on. A database that is away holds everything up, and nothing is lost
by it: phones go on with what they have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from harness.farm.board.board import Board
from harness.farm.board.roster import SILENT_S
from harness.farm.board.words import Change, Mark
from harness.farm.hub.news import Events
from harness.store.errors import StoreError
from harness.store.farm_ledger import FarmLedger, LedgerPhone, LedgerTrial

STORE_RETRY_S = 1.0

Tell = Callable[[str], None]


class Clock:
    """Wall-clock seconds that never go back or jump, whatever is done to the machine's clock."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        """Seconds since 1970, as they were at the hub's start and on."""
        return time.monotonic() + self._ahead_s


class BoardDesk:
    """One a hub. Who is at the board holds `lock`, and calls `keep` before anybody is told of what he has done."""

    def __init__(self, ledger: FarmLedger, tell: Tell) -> None:
        self.board = Board()
        self.ledger = ledger
        self.events = Events()
        self.clock = Clock()
        self.tell = tell
        self.lock = asyncio.Lock()
        self.woken = asyncio.Event()
        """Set when something may be given out now."""
        self._unkept: list[LedgerTrial] = []
        self._unkept_marks: dict[str, Mark] = {}
        self._all_heard_s = self.clock.now_s()

    async def restore_marks(self) -> None:
        """What an earlier hub has kept of phones. Raises StoreError."""
        for kept in await asyncio.to_thread(self.ledger.phones):
            self.board.restore(_mark(kept))

    async def keep(self) -> None:
        """The board's changes into the ledger, in order; waits for a database that is away.

        Raises StoreError when another hub may have it.
        """
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
                    self.tell(f"the results cannot be written, trying again: {error}")
                    told = True
                await asyncio.sleep(STORE_RETRY_S)
        if self.clock.now_s() - began_s > STORE_RETRY_S:
            self._all_heard_s = self.clock.now_s()

    def lose_quiet(self) -> None:
        """Phones that were not heard of for too long, unless nobody could be heard because we were held up."""
        now_s = self.clock.now_s()
        if now_s - self._all_heard_s > SILENT_S:
            for phone in self.board.quiet(now_s):
                self.board.lose(phone, f"nothing was heard of it for {SILENT_S:g} s", now_s)

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
            change.given_up_by,
        )


def _last_of_each(changes: Sequence[LedgerTrial]) -> list[LedgerTrial]:
    """Of several changes of one trial only the last is worth keeping."""
    return list({(one.run_id, one.case, one.ordinal): one for one in changes}.values())


def _mark(kept: LedgerPhone) -> Mark:
    until_s = None if kept.reserved_until is None else datetime.fromisoformat(kept.reserved_until).timestamp()
    return Mark(kept.phone, kept.drained, kept.out, until_s, kept.reserved_by, kept.reason)


def _ledger_phone(mark: Mark) -> LedgerPhone:
    until = None
    if mark.reserved_until_s is not None:
        until = datetime.fromtimestamp(mark.reserved_until_s, UTC).isoformat(timespec="milliseconds")
    return LedgerPhone(mark.what, mark.drained, mark.out, until, mark.reserved_by, mark.reserved_why)

"""The phones' side of the hub: what they say and what is said of them, and the jobs that they are given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.farm.board.phones import is_reserved
from harness.farm.board.words import Assignment, PhoneStanding
from harness.farm.hub.desk import BoardDesk
from harness.farm.wire import Announcement, JobEnd, JobReport, Orders, PhoneState, Reserve, Reserved, TrialJob

MAX_UNCONNECTED = 10_000
"""Announcements of phones whose workers have not come yet."""

GiveJob = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Runs a job at a worker's address; gives a plain JobReport, or raises."""

_LOG = logging.getLogger(__name__)


class WorkerAway(HarnessError):
    """The worker that a job was meant for is not connected: the job was not begun."""


class PhoneCalls:
    """One a hub; `stop` it."""

    def __init__(self, desk: BoardDesk, give: GiveJob, is_connected: Callable[[str], bool]) -> None:
        self._desk = desk
        self._board = desk.board
        self._clock = desk.clock
        self._give = give
        self._is_connected = is_connected
        self._tasks: set[asyncio.Task[None]] = set()
        self._unconnected: dict[str, Announcement] = {}
        self._stopping = False

    async def stop(self) -> None:
        """What is under way on phones goes on without us."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # jobs

    def give(self, assignment: Assignment, job: TrialJob) -> None:
        """Of an assignment that is in the ledger."""
        self._begin(self._run_job(assignment, job))

    async def _run_job(self, assignment: Assignment, job: TrialJob) -> None:
        try:
            report = JobReport.read(await self._give(assignment.worker, job.plain()))
        except WorkerAway as error:
            report = JobReport(job=assignment.job, end=JobEnd.NOT_HAD, reason=str(error))
        except Exception as error:  # noqa: BLE001  # whatever a phone's process raised, also what only it knows
            if self._stopping or not self._is_connected(assignment.worker):
                # of a worker that is gone `worker_lost` is told, or nobody
                return
            known = self._board.phones.get(assignment.phone)
            if known is None or known.job != assignment.job:
                # its record came all the same, and by now it is at another
                return
            _LOG.exception("job %s on %s", assignment.job.text, assignment.phone)
            await self.lose(assignment.phone, f"its process failed: {type(error).__name__}: {str(error)[:500]}")
            return
        async with self._desk.lock:
            if report.job == assignment.job:
                self._board.report(assignment.phone, report, self._clock.now_s())
        self._desk.woken.set()

    # their processes

    def worker_came(self, address: str) -> None:
        """A worker has connected; its phone may have said before that it is free."""
        if (said := self._unconnected.pop(address, None)) is not None:
            self._begin(self._announce_again(said))

    async def _announce_again(self, said: Announcement) -> None:
        async with self._desk.lock:
            known = self._board.phones.get(said.phone)
            if known is not None and known.said.worker == said.worker and known.gone is None:
                self._board.announce(said, self._clock.now_s())
        self._desk.woken.set()

    def worker_lost(self, address: str) -> None:
        """A worker's connection is gone, or it was silent for too long."""
        if self._stopping:
            return
        for name, phone in self._board.phones.items():
            if phone.said.worker == address and phone.gone is None:
                self._begin(self.lose(name, "its process was lost: killed, frozen, or cut off", address))

    async def lose(self, phone: str, reason: str, worker: str | None = None) -> None:
        """The phone is gone until it is announced again; unless it has a new worker meanwhile."""
        async with self._desk.lock:
            known = self._board.phones.get(phone)
            if known is None or (worker is not None and known.said.worker != worker):
                return
            if known.gone is None:
                self._desk.tell(f"phone {phone} is gone: {reason}")
            self._board.lose(phone, reason, self._clock.now_s())
        self._desk.woken.set()

    async def announce(self, said: Announcement) -> Orders:
        """A phone tells how it is."""
        self._unconnected.pop(said.worker, None)
        if said.state is PhoneState.FREE and not self._is_connected(said.worker):
            # its connection for jobs comes, or was just lost
            if len(self._unconnected) > MAX_UNCONNECTED:
                self._unconnected.clear()
            self._unconnected[said.worker] = said
            said = said.model_copy(update={"state": PhoneState.NOT_READY, "note": "not connected for trials yet"})
        async with self._desk.lock:
            known = self._board.phones.get(said.phone)
            if known is None or known.gone is not None:
                self._desk.tell(
                    f"phone {said.phone} ({said.product_type}, iOS {said.os_version}) is here, on {said.host}"
                )
            self._board.announce(said, self._clock.now_s())
            orders = self._board.orders(said.phone, self._clock.now_s())
        if said.state is PhoneState.FREE:
            self._desk.woken.set()
        return orders

    async def examined(self, phone: str, passed: bool, words: str) -> None:
        """What `doctor` found."""
        async with self._desk.lock:
            self._board.examined(phone, passed, words, self._clock.now_s())
            self._desk.tell(f"phone {phone}: doctor {'passed' if passed else f'did not pass: {words}'}")
            await self._desk.keep()
        self._desk.woken.set()

    # what people say of them

    async def drain(self, what: str, words: str | None) -> None:
        """A phone or a host. Raises UsageError when there is none of the name."""
        async with self._desk.lock:
            names = {name for phone in self._board.phones.values() for name in (phone.said.phone, phone.said.host)}
            if what not in names and words is not None:
                raise UsageError(f"{what}: the farm knows no such phone or host; `harness farm status` shows them")
            self._board.drain(what, words)
            await self._desk.keep()
        self._desk.woken.set()

    async def reserve(self, asked: Reserve) -> Reserved:
        """For a person; 0 s: nobody's. Raises UsageError when there is no such phone, or it is somebody else's."""
        async with self._desk.lock:
            now_s = self._clock.now_s()
            known = self._board.phones.get(asked.phone)
            if known is None:
                raise UsageError(f"{asked.phone}: the farm knows no such phone; `harness farm status` shows them")
            was = _reserved_text(known) if is_reserved(known, now_s) else ""
            if was and known.reserved_by != asked.by and not asked.force:
                raise UsageError(f"{asked.phone}: is reserved {was}; ask for it, or take it all the same (--force)")
            until_s = now_s + asked.for_s if asked.for_s else None
            self._board.reserve(asked.phone, until_s, asked.by, asked.reason)
            await self._desk.keep()
        self._desk.woken.set()
        return Reserved(was=was)


def _reserved_text(phone: PhoneStanding) -> str:
    until = datetime.fromtimestamp(phone.reserved_until_s or 0.0, UTC)
    return f"until {until:%Y-%m-%d %H:%M} UTC by {phone.reserved_text}"

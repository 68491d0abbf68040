"""Of one phone's process: takes trials from the hub, brings their records home, says how the phone stands.

    Dask's task thread    run_job: reads the job, waits for the phone's thread, then for the delivery
    phone's thread        drives the phone (`phone_turns.py`)
    main thread's loop    Dask's worker, announcements, files, deliveries

Nothing of it ends with a connection: a hub that is away finds the trial still under way when it is back, and a record
stays `under way` until the hub has it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from distributed import Worker
from distributed.utils import get_ip

from harness.bench.shared_phone import TrialRefused
from harness.core.errors import HarnessError, UsageError
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord
from harness.device.lease import LockBusy, Tell, phone_lock, who_holds
from harness.device.reservation import PhoneReserved, Reservations
from harness.farm.dask_settings import NO_DASHBOARD, PHONE_RESOURCE, security_of
from harness.farm.host.delivery import Courier, NotTaken
from harness.farm.host.fetched import BrokenFile, fetched
from harness.farm.host.job_rules import ReadJob, read_job, turn_of
from harness.farm.host.phone_state import Standing
from harness.farm.host.phone_turns import CutOff, NotHad, PhoneThread
from harness.farm.host.process_options import ProcessOptions
from harness.farm.host.usb_cycle import BACK_LIMIT_S, cycle_port
from harness.farm.link import HubUnreachable, Link
from harness.farm.listening import close_pages
from harness.farm.wire import (
    Examined,
    JobEnd,
    JobReport,
    Leaves,
    Nothing,
    Orders,
    PhoneState,
    TrialJob,
)
from harness.runner.bundle import BuildError
from harness.store.database import ResultStore

ANNOUNCE_S = 5.0
NEWS_S = 0.5
"""A phase or a push tells of itself at most so often."""
AWAY_S = 1.0
"""Pause between tries while the hub is away."""
LEAVE_LIMIT_S = 5.0
REFUSALS = 3
"""So often a record is offered by this process; the host tries again later."""
REPORT_S = 0.5
"""For a task's result to reach the hub before its worker closes."""

log = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class PhoneAgent:
    """Made in the main thread's loop. `tell` takes lines for the host's owner, from any thread."""

    def __init__(
        self,
        options: ProcessOptions,
        store: ResultStore,
        link: Link,
        phone: PhoneThread,
        standing: Standing,
        tell: Tell,
    ) -> None:
        self._options = options
        self._store = store
        self._link = link
        self._phone = phone
        self._standing = standing
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._courier = Courier(store, link, options.host, tell, options.file_store)
        self._news = asyncio.Event()
        self._leaving = asyncio.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._attached = True
        self._worker: str | None = None
        self._told: dict[str, str] = {}
        self._examination: asyncio.Task[None] | None = None

    # in Dask's task thread

    def run_job(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """A `TrialJob` to its `JobReport`; the record goes its own way. Raises for faults of ours."""
        job = TrialJob.read(plain)
        if self._leaving.is_set():
            return JobReport(job=job.job, end=JobEnd.NOT_HAD, reason="its host is about to leave the farm").plain()
        if not self._standing.begin(job.job):
            return JobReport(job=job.job, end=JobEnd.BUSY, reason="the phone is still at another job").plain()
        self._idle.clear()
        self._tell_hub()
        try:
            return self._run(job).plain()
        finally:
            self._standing.end()
            self._idle.set()
            self._tell_hub()

    def _run(self, job: TrialJob) -> JobReport:
        def report(end: JobEnd, reason: object = "", trial_id: str | None = None) -> JobReport:
            return JobReport(job=job.job, end=end, reason=str(reason)[:4000], trial_id=trial_id)

        try:
            self._check_reserved()
            read = read_job(job, own_paths=self._options.own_paths)
            files = self._in_main(self._fetch(read))
            turn = turn_of(read, files, self._options.runner, own_paths=self._options.own_paths)
            settings = read.suite.virtual
            record = self._phone.ask(lambda turns: turns.run(turn, settings, self._tell)).result()
        except NotHad as error:
            if isinstance(error.cause, UsageError):
                return report(JobEnd.REFUSED, error)
            state = PhoneState.IN_USE if isinstance(error.cause, LockBusy) else PhoneState.NOT_READY
            self._standing.hinder(state, str(error))
            return report(JobEnd.NOT_HAD, error)
        except (TrialRefused, UsageError, BuildError, BrokenFile) as error:
            return report(JobEnd.REFUSED, error)
        except CutOff as error:
            # its record, if it had begun, is closed and will be delivered by the host
            return report(JobEnd.SPOOLED, error)
        except HarnessError as error:
            self._standing.hinder(PhoneState.NOT_READY, str(error))
            return report(JobEnd.NOT_HAD, error)
        self._standing.does("deliver")
        end, reason = self._in_main(self._bring_home(record))
        return report(end, reason, record.trial_id)

    def _check_reserved(self) -> None:
        """A farm honours also what its host's own user has reserved: he wants the phone for himself."""
        facts = self._standing.facts
        reservation = Reservations.shared().of(facts.udid) if self._standing.is_attached else None
        if reservation is not None:
            raise NotHad(PhoneReserved(f"phone {facts.udid} is reserved by {reservation.text}", None))

    def _in_main(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _tell_hub(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)

    # in the main thread's loop

    async def _fetch(self, read: ReadJob) -> dict[str, Path]:
        wanted = [*read.runner_files, *([read.model_file] if read.model_file is not None else [])]
        files = {}
        for ref in wanted:
            files[ref.sha256] = await fetched(self._link, ref, self._standing.step)
        return files

    async def _bring_home(self, record: TrialRecord) -> tuple[JobEnd, str]:
        """While the hub is away the trial stays under way: nobody else shall run it meanwhile."""
        refusals = 0
        while True:
            try:
                await self._courier.deliver(record)
            except HubUnreachable as error:
                self._tell_change("hub", f"trial {record.trial_id} is kept until the hub is back: {error}")
                if self._leaving.is_set():
                    return JobEnd.SPOOLED, str(error)
            except NotTaken as error:
                self._tell(f"trial {record.trial_id} was not taken by the hub: {error}")
                refusals += 1
                if refusals >= REFUSALS:
                    return JobEnd.SPOOLED, str(error)
            else:
                return JobEnd.DELIVERED, ""
            await asyncio.sleep(AWAY_S)

    async def announce_forever(self) -> None:
        """Tells the hub at every change, and every few seconds; does what it orders."""
        last, last_s, looked_s = None, 0.0, 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(NEWS_S):
                    await self._news.wait()
            news = self._news.is_set()
            self._news.clear()
            now = time.monotonic()
            if now - looked_s >= ANNOUNCE_S:
                looked_s = now
                await self._look()
            # a phone at rest has nothing new to say
            if self._worker is None or (self._idle.is_set() and not news and now - last_s < ANNOUNCE_S):
                continue
            said = self._standing.announcement(self._worker)
            if said == last and now - last_s < ANNOUNCE_S:
                continue
            try:
                orders = await self._link.ask("announce", said, Orders)
            except HarnessError as error:
                last, last_s = None, 0.0
                self._tell_change("announce", str(error))
                await asyncio.sleep(AWAY_S)
                continue
            self._tell_change("announce", "")
            last, last_s = said, now
            self._obey(orders)

    def _tell_change(self, of: str, text: str) -> None:
        if text and self._told.get(of) != text:
            self._tell(text)
        self._told[of] = text

    async def _look(self) -> None:
        """A phone that nobody tells of: is it there, has somebody taken it?"""
        standing = self._standing
        if not self._idle.is_set():
            return
        if not self._attached:
            standing.hinder(PhoneState.NOT_READY, "it is unplugged", for_s=ANNOUNCE_S * 2)
            return
        if standing.is_attached and not self._phone.turns.holds_lease:
            lock = phone_lock(standing.facts.udid)
            reservation = await asyncio.to_thread(Reservations.shared().of, standing.facts.udid)
            if reservation is not None:
                standing.hinder(PhoneState.IN_USE, f"reserved by {reservation.text}", for_s=0.0)
                return
            held = await asyncio.to_thread(who_holds)
            if lock in held:
                who = held[lock]
                standing.hinder(PhoneState.IN_USE, f"in use by {who.text}" if who is not None else "in use", for_s=0.0)
                return
        trouble = standing.trouble
        if trouble is not None and time.monotonic() >= trouble.until_s:
            standing.unhinder()

    def attached(self, there: bool) -> None:
        """The host says that the phone was unplugged, or is back."""
        self._attached = there
        if there:
            self._standing.unhinder()
        else:
            self._standing.hinder(PhoneState.NOT_READY, "it is unplugged", for_s=ANNOUNCE_S * 2)
        self._news.set()

    def _obey(self, orders: Orders) -> None:
        if not orders.examine or self._leaving.is_set():
            return
        if self._examination is None or self._examination.done():
            self._examination = self._loop.create_task(self._examine(cycle=orders.cycle_usb))

    async def _examine(self, *, cycle: bool) -> None:
        if not self._standing.begin(None):
            return
        self._idle.clear()
        self._news.set()
        self._standing.does("doctor")
        try:
            passed, words = await self._examined(cycle=cycle)
            self._tell(f"doctor: {'well' if passed else 'not well'}: {words}")
            told = Examined(phone=self._standing.phone, passed=passed, words=words[:4000])
            await self._link.ask("examined", told, Nothing)
        except HarnessError as error:
            self._tell(f"doctor: {error}")
        except Exception:
            log.exception("the examination failed")
        finally:
            self._standing.end()
            self._idle.set()
            self._news.set()

    async def _examined(self, *, cycle: bool) -> tuple[bool, str]:
        if cycle and self._options.usb_cycle and self._standing.facts.kind is PhoneKind.PHYSICAL:
            self._tell("its USB port is switched off and on")
            try:
                await cycle_port(self._options.usb_cycle, self._standing.facts.udid)
                await asyncio.sleep(BACK_LIMIT_S)
            except HarnessError as error:
                self._tell(str(error))
        runner = self._options.runner[0]
        try:
            return await asyncio.wrap_future(self._phone.ask(lambda turns: turns.examine(runner, self._tell)))
        except HarnessError as error:
            return False, str(error)

    async def work_forever(self) -> None:
        """Dask's worker, made anew whenever it is closed: by a hub that restarts, a cut link, a process that froze."""
        address, certificates = self._options.address, self._options.certificate_files
        security = security_of(address, certificates)
        with TemporaryDirectory(prefix="harness-farm-") as scratch:
            while True:
                worker = Worker(
                    address.text,
                    nthreads=1,
                    resources={PHONE_RESOURCE: 1},
                    security=security,
                    host=await asyncio.to_thread(_our_ip, address.host, address.port),
                    dashboard=False,
                    dashboard_address=NO_DASHBOARD,
                    memory_limit=0,
                    local_directory=scratch,
                    executor=LastingThreadPoolExecutor(),
                )
                try:
                    await worker
                    close_pages(worker)
                    self._worker = worker.address
                    self._news.set()
                    await worker.finished()
                except (OSError, ValueError, RuntimeError, TimeoutError) as error:
                    self._tell_change("worker", f"no connection to the hub {address.text}: {error}")
                finally:
                    self._worker = None
                    with suppress(Exception):
                        await worker.close(timeout=LEAVE_LIMIT_S, executor_wait=False, nanny=False)
                await asyncio.sleep(AWAY_S)

    async def leave(self, reason: str, limit_s: float) -> None:
        """Takes no further trial, ends the one under way (all of it, or after `limit_s` by cutting it off), says so."""
        self._leaving.set()
        if not await asyncio.to_thread(self._idle.wait, limit_s):
            self._phone.cut()
            await asyncio.to_thread(self._idle.wait, limit_s)
        await asyncio.sleep(REPORT_S)
        with suppress(HarnessError):
            await self._link.ask(
                "leave", Leaves(phone=self._standing.phone, reason=reason[:500]), Nothing, limit_s=LEAVE_LIMIT_S
            )

    async def cut_off(self, limit_s: float) -> None:
        """Ends what is under way now; its record is kept as cut short."""
        self._leaving.set()
        self._phone.cut()
        await asyncio.to_thread(self._idle.wait, limit_s)


class LastingThreadPoolExecutor(concurrent.futures.Executor):
    """A thread for each of Dask's tasks, which outlives the worker that started it; Dask waits for its own threads.

    Dask tells a task which worker it is of (`get_worker`) where it finds `ThreadPoolExecutor` in the class's name.
    """

    def submit(self, fn: Callable[..., _Value], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[_Value]:
        future: concurrent.futures.Future[_Value] = concurrent.futures.Future()

        # a worker that closes does not wait for its tasks, and what is running cannot be taken back
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # it is the future's to raise
                future.set_exception(error)

        threading.Thread(target=run, name="trial", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: a trial under way goes on."""


def _our_ip(host: str, port: int) -> str | None:
    """Of the interface that leads to the hub; None where it cannot be told."""
    try:
        return str(get_ip(host, port))
    except (OSError, ValueError):
        return None


async def first_of(*works: Awaitable[None]) -> None:
    """Until one of them has ended; the others are cancelled. Raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""The hub: Dask's scheduler, the coordinator and the store in one process, and one port for all.

A host needs to reach the hub, and nobody has to reach a host. One hub has a database at a time.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from distributed import Client, Scheduler
from distributed.comm.addressing import get_address_host
from distributed.diagnostics.plugin import SchedulerPlugin

from harness.core.errors import HarnessError
from harness.farm.address import Certificates, FarmAddress
from harness.farm.dask_settings import NO_DASHBOARD, PHONE_RESOURCE, security_of, set_dask
from harness.farm.hub.blobs import Arrivals, Blobs
from harness.farm.hub.coordinator import Coordinator
from harness.farm.hub.desk import BoardDesk, Tell
from harness.farm.hub.intake import Intake
from harness.farm.hub.operations import Operations
from harness.farm.hub.phone_calls import PhoneCalls, WorkerAway
from harness.farm.listening import allow_more_files, close_pages
from harness.farm.tasks import REPORT_TOPIC, run_trial
from harness.farm.wire import JobId
from harness.store.address import Results
from harness.store.database import ResultStore
from harness.store.farm_ledger import FarmLedger

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, to say which names clients use
"""Listened at, a hub is reached there by its own process."""
TIDY_EVERY_S = 3600.0
CLOSE_LIMIT_S = 10.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubOptions:
    results: Results
    listen: FarmAddress
    """Port 0: any that is free."""
    certificates: Certificates | None = None
    """None for `tcp://`."""
    own_paths: bool = False
    """Whether paths in suites mean the same on hub and hosts: all are one machine."""
    restore: tuple[str, ...] | None = None
    """Of the runs that an earlier hub left active, those that go on; None: all. The others stay as they are."""


@dataclass(frozen=True)
class Hub:
    """One that runs."""

    address: FarmAddress
    """By which this machine reaches it; of a hub that listens everywhere with the machine's name."""
    coordinator: Coordinator
    scheduler: Scheduler


class _Scheduler(Scheduler):
    """Dask's own, which does not look for an address of this machine that others might use: ours are told the hub's.

    It would ask the system for a route to somewhere in the internet, and warn where there is none.
    """

    async def listen(self, port_or_addr: Any = None, allow_offload: bool = True, **kwargs: Any) -> None:
        host = get_address_host(port_or_addr) if isinstance(port_or_addr, str) else ""
        loopback = EVERYWHERE.get(host)
        await super().listen(port_or_addr, allow_offload, default_host=loopback, **kwargs)  # type: ignore[no-untyped-call]  # Dask's


class _Workers(SchedulerPlugin):
    """Tells of workers that have come and that are gone."""

    def __init__(self) -> None:
        self.phones: PhoneCalls | None = None

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        if self.phones is not None:
            self.phones.worker_came(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        if self.phones is not None:
            self.phones.worker_lost(worker)


class _Giver:
    """Gives jobs to workers.

    A job's report comes by the connection that the worker has made. A task's result would be fetched by one to the
    worker, which a host's firewall need not let in: only its end is waited for.
    """

    def __init__(self, scheduler: Scheduler, client: Client) -> None:
        self._scheduler = scheduler
        self._client = client
        self._awaited: dict[str, object] = {}
        """By worker and job: a phone is given its next when its record has come, which may be before its task ends."""
        self._other_events = scheduler.stream_handlers["log-event"]
        scheduler.stream_handlers["log-event"] = self._event

    def _event(self, topic: object = None, msg: object = None, worker: str = "", **more: Any) -> None:
        if topic == REPORT_TOPIC:
            if (key := _key(worker, msg)) in self._awaited:
                self._awaited[key] = msg
        else:
            self._other_events(topic=topic, msg=msg, worker=worker, **more)

    def is_connected(self, worker: str) -> bool:
        return worker in self._scheduler.workers

    async def give(self, worker: str, plain: dict[str, Any]) -> object:
        """The job's plain report."""
        if not self.is_connected(worker):
            raise WorkerAway(f"its process {worker} is not connected")
        key = _key(worker, plain)
        self._awaited[key] = None
        future = self._client.submit(
            run_trial,
            plain,
            workers=[worker],
            allow_other_workers=False,
            resources={PHONE_RESOURCE: 1},
            pure=False,
            retries=0,
        )
        try:
            # this alone fetches nothing
            error = await future.exception()
            if error is not None:
                # Dask's own word for a cancelled one would look as if we had been cancelled
                raise error if isinstance(error, Exception) else HarnessError(f"its job was cancelled: {error}")
            report = self._awaited[key]
            if report is None:
                raise HarnessError(f"{worker}: a job ended without a report")
            return report
        finally:
            self._awaited.pop(key, None)
            future.release()


def _key(worker: str, message: object) -> str:
    """Of a job and its report; what has no job has a key of nobody's."""
    job = message.get("job") if isinstance(message, Mapping) else None
    fields = [job.get(name) for name in JobId.model_fields] if isinstance(job, Mapping) else []
    return repr((worker, fields))


@asynccontextmanager
async def open_hub(options: HubOptions, tell: Tell) -> AsyncIterator[Hub]:
    """A hub for the length of the `async with`, in the running loop.

    Raises StoreError (results that cannot be used, or that another hub has), HarnessError when it cannot listen.
    """
    set_dask()
    with ResultStore.open(options.results) as store:
        ledger = FarmLedger(store)
        with ledger.held():
            workers = _Workers()
            async with _scheduler(options, workers) as scheduler, _client(options, scheduler) as client:
                giver = _Giver(scheduler, client)
                desk = BoardDesk(ledger, tell)
                coordinator = Coordinator(desk, PhoneCalls(desk, giver.give, giver.is_connected))
                address = _reached_by(options.listen, scheduler)
                arrivals = Arrivals()
                intake, blobs = Intake(store, arrivals), Blobs(store.folder, arrivals)
                operations = Operations(coordinator, intake, blobs, address.text, own_paths=options.own_paths)
                await coordinator.start(options.restore)
                # who asks before is told that there is no such operation, which no member is
                workers.phones = coordinator.phones
                scheduler.handlers.update(operations.handlers())
                tidying = asyncio.create_task(_tidy_for_ever(operations, tell))
                try:
                    yield Hub(address, coordinator, scheduler)
                finally:
                    tidying.cancel()
                    await coordinator.stop()


async def serve(options: HubOptions, tell: Tell, ready: Tell) -> None:
    """A hub until SIGTERM or SIGINT; `ready` gets its address. Raises what `open_hub` does, and why it cannot go on."""
    allow_more_files()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        async with open_hub(options, tell) as hub:
            ready(hub.address.text)
            hub.coordinator.failed.add_done_callback(lambda _: ended.set())
            await ended.wait()
            if hub.coordinator.failed.done():
                hub.coordinator.failed.result()
            tell("the hub ends; what is under way on the phones goes on, and is delivered when it is back")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _scheduler(options: HubOptions, workers: _Workers) -> AsyncIterator[Scheduler]:
    listen = options.listen
    try:
        _check_free(listen)
        scheduler = await _Scheduler(
            host=f"[{listen.host}]" if ":" in listen.host else listen.host,
            port=listen.port,
            protocol=f"{listen.scheme}://",
            security=security_of(listen, options.certificates),
            dashboard=False,
            dashboard_address=NO_DASHBOARD,
            plugins=[workers],
        )
    except (OSError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        raise HarnessError(f"--listen={listen.text}: cannot listen there: {cause}") from error
    close_pages(scheduler)
    try:
        yield scheduler
    finally:
        workers.phones = None
        with suppress(TimeoutError):
            await asyncio.wait_for(scheduler.close(), CLOSE_LIMIT_S)


def _check_free(listen: FarmAddress) -> None:
    """Raises OSError; the library that listens leaves its socket open when it cannot."""
    if listen.port:
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((listen.host, listen.port))


@asynccontextmanager
async def _client(options: HubOptions, scheduler: Scheduler) -> AsyncIterator[Client]:
    client = await Client(
        scheduler.address,
        security=security_of(options.listen, options.certificates),
        asynchronous=True,
        set_as_default=False,
    )
    try:
        yield client
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(client.close(), CLOSE_LIMIT_S)


def _reached_by(listen: FarmAddress, scheduler: Scheduler) -> FarmAddress:
    host = socket.gethostname() if listen.host in EVERYWHERE else listen.host
    return FarmAddress(listen.scheme, host, int(scheduler.port))


async def _tidy_for_ever(operations: Operations, tell: Tell) -> None:
    while True:
        try:
            if removed := await asyncio.to_thread(operations.tidy):
                tell(f"removed {len(removed)} old files that nobody asked for")
        except (OSError, HarnessError) as error:
            tell(f"old files cannot be removed: {error}")
        await asyncio.sleep(TIDY_EVERY_S)

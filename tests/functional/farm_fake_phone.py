"""A phone's process that a test plays, with the real ways to a hub: a link for what it says, a Dask worker for jobs.

Its trials take no time, and end as the test says. Several may live in one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from distributed import Worker, get_worker

from harness.core.errors import HarnessError
from harness.core.record import TrialRecord
from harness.core.standing import Kept
from harness.farm import tasks, wire
from harness.farm.address import Certificates, FarmAddress
from harness.farm.dask_settings import NO_DASHBOARD, PHONE_RESOURCE, security_of
from harness.farm.link import Link, open_link
from harness.store.exchange.records import record_to_plain
from harness.store.telemetry import write_parquet
from tests.kept_trials import READINGS, a_trial

LIMIT_S = 60.0
POLL_S = 0.02
HOST = "bench"
_NUMBERS = itertools.count(1)

Outcome = Callable[[wire.JobId], str | None]
"""How a trial ends; None: with nothing at all, as if its process had been killed under it."""


class FakePhone:
    def __init__(self, link: Link, worker: Worker, scratch: Path, number: int, outcome: Outcome) -> None:
        self.udid = f"00008140-{number:016X}"
        self.name = f"{self.udid}@{HOST}"
        self.link = link
        self.worker = worker
        self.outcome = outcome
        self.jobs: list[wire.JobId] = []
        self.kept: list[Kept] = []
        self.orders = wire.Orders()
        self.hold: threading.Event | None = None
        """A trial under way waits for it."""
        self.job: wire.JobId | None = None
        self._scratch = scratch
        self._loop = asyncio.get_running_loop()

    def announcement(self, **changes: Any) -> wire.Announcement:
        state = wire.PhoneState.FREE if self.job is None else wire.PhoneState.BUSY
        values: dict[str, Any] = {
            "phone": self.name,
            "udid": self.udid,
            "kind": "virtual",
            "product_type": "iPhone17,1",
            "os_version": "18.5",
            "os_build": "22F76",
            "name": "made up",
            "word": "virtual:iphone-16-pro",
            "host": HOST,
            "worker": self.worker.address,
            "pid": os.getpid(),
            "harness_version": "0",
            "state": state,
            "job": self.job,
        }
        return wire.Announcement(**(values | changes))

    async def announce(self, **changes: Any) -> None:
        self.orders = await self.link.ask("announce", self.announcement(**changes), wire.Orders)

    def run(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """In Dask's thread."""
        job = wire.TrialJob.read(plain)
        self.job = job.job
        self.jobs.append(job.job)
        self._in_loop(self.announce())
        if self.hold is not None:
            self.hold.wait(LIMIT_S)
        outcome = self.outcome(job.job)
        if outcome is not None:
            self.kept.append(self._in_loop(self.deliver(self.record(job.job, outcome=outcome))))
        self.job = None
        self._in_loop(self.announce())
        return wire.JobReport(job=job.job, end=wire.JobEnd.DELIVERED).plain()

    def _in_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    def record(self, job: wire.JobId, **changes: Any) -> TrialRecord:
        values: dict[str, Any] = {
            "run_id": job.run_id,
            "case": job.case,
            "ordinal": job.ordinal,
            "attempt": job.attempt,
            "device_udid": self.udid,
            "engine": "mmap",
            "telemetry_file": "telemetry/x.parquet",
            "artifacts_dir": "artifacts/x",
        }
        return a_trial(f"20261123-{next(_NUMBERS):06}", **(values | changes))

    def files_of(self, record: TrialRecord) -> dict[str, bytes]:
        path = self._scratch / f"{record.trial_id}.parquet"
        write_parquet(path, READINGS)
        return {
            "telemetry": path.read_bytes(),
            "stderr.txt": b"",
            "reports/crash.ips": f"of {record.trial_id}".encode(),
        }

    async def deliver(self, record: TrialRecord, files: Mapping[str, bytes] | None = None) -> Kept:
        """As a host does: told what is missing, it sends that, and asks again."""
        files = self.files_of(record) if files is None else files
        delivery = self.delivery(record, files)
        for _ in range(2):
            told = await self.link.ask("deliver", delivery, wire.DeliveryAnswer)
            if not told.missing:
                return told.kept
            for name in told.missing:
                await self.send(record.trial_id, name, files[name])
        raise AssertionError(f"still missing: {told.missing}")

    def delivery(self, record: TrialRecord, files: Mapping[str, bytes]) -> wire.Delivery:
        return wire.Delivery(
            record=record_to_plain(record),
            phone=self.name,
            files=tuple(
                wire.DeliveredFile(name=name, sha256=sha256(data), size_bytes=len(data)) for name, data in files.items()
            ),
        )

    async def send(self, of: str, name: str, data: bytes, *, step: int = 100_000, begin: int = 0) -> int:
        """All of it in pieces from `begin` on; where the hub is then."""
        offset = begin
        while True:
            part = wire.Chunk(
                of=of,
                name=name,
                sha256=sha256(data),
                size_bytes=len(data),
                offset=offset,
                data=data[offset : offset + step],
            )
            offset = (await self.link.ask("chunk", part, wire.ChunkAnswer)).next_offset
            if offset >= len(data):
                return offset


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def loaded(_job: wire.JobId) -> str:
    return "loaded"


@asynccontextmanager
async def fake_phones(
    address: FarmAddress,
    certificates: Certificates | None,
    scratch: Path,
    count: int = 1,
    outcome: Outcome = loaded,
) -> AsyncIterator[list[FakePhone]]:
    """Phones that are there and free."""
    phones: list[FakePhone] = []
    async with open_link(address, certificates) as link:
        for number in range(1, count + 1):
            worker = await Worker(
                address.text,
                nthreads=1,
                resources={PHONE_RESOURCE: 1},
                security=security_of(address, certificates),
                host="127.0.0.1",
                dashboard=False,
                dashboard_address=NO_DASHBOARD,
                memory_limit=0,
                local_directory=str(scratch),
            )
            phones.append(FakePhone(link, worker, scratch, number, outcome))
        by_worker = {phone.worker.address: phone for phone in phones}
        tasks.runs_here(lambda plain: by_worker[get_worker().address].run(plain))
        for phone in phones:
            await phone.announce()
        heart = asyncio.create_task(_beat(phones))
        try:
            yield phones
        finally:
            heart.cancel()
            for phone in phones:
                if phone.hold is not None:
                    phone.hold.set()
                await phone.worker.close()


async def _beat(phones: list[FakePhone]) -> None:
    while True:
        await asyncio.sleep(1)
        for phone in phones:
            try:
                await phone.announce()
            except HarnessError:
                # the hub is away
                continue


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  # what it waits for is in other threads
            await asyncio.sleep(POLL_S)

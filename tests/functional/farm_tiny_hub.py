"""A hub that does just what a test of a host needs: hears announcements, gives trials by hand, takes what is delivered.

Dask's own scheduler with our operations; it lives in the test's event loop, and can go away and come back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from distributed import Client, Future, Scheduler, Security

from harness.bench.plan import plan_trials
from harness.bench.suite import read_suite
from harness.core.errors import HarnessError
from harness.core.standing import Kept
from harness.farm import tasks, wire
from harness.farm.address import FarmAddress
from harness.farm.dask_settings import NO_DASHBOARD, PHONE_RESOURCE, set_dask

LIMIT_S = 120.0
POLL_S = 0.02
PREFIX = "farm_"


class TinyHub:
    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self.said: list[wire.Announcement] = []
        self.left: list[wire.Leaves] = []
        self.examined: list[wire.Examined] = []
        self.records: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], bytearray] = {}
        self.blobs: dict[str, bytes] = {}
        self.orders = wire.Orders()
        self.refuse_records: Exception | None = None
        self._scheduler: Scheduler | None = None
        self._client: Client | None = None

    @property
    def address(self) -> FarmAddress:
        return FarmAddress("tcp", "127.0.0.1", self.port)

    @property
    def workers(self) -> list[str]:
        """Addresses of the processes that Dask has a connection to."""
        return [] if self._scheduler is None else list(self._scheduler.workers)

    async def start(self) -> None:
        set_dask()
        plain = Security(require_encryption=False)
        self._scheduler = Scheduler(
            host="127.0.0.1",
            port=self.port,
            security=plain,
            dashboard=False,
            dashboard_address=NO_DASHBOARD,
        )
        for name in ("hello", "announce", "leave", "examined", "chunk", "deliver", "fetch"):
            self._scheduler.handlers[PREFIX + name] = self._operation(getattr(self, f"_{name}"))
        await self._scheduler
        self.port = int(self._scheduler.address.rpartition(":")[2])
        self._client = await Client(self._scheduler.address, asynchronous=True, security=plain)

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._scheduler is not None:
            await self._scheduler.close()
        self._client = self._scheduler = None

    def job(self, suite_text: str, number: int = 1, *, run_id: str = "run-1", **changes: Any) -> wire.TrialJob:
        """The `number`th trial of a suite."""
        suite = read_suite(suite_text, Path("/nowhere/suite.toml"))
        trials = plan_trials(suite)
        planned = trials[number - 1]
        job = wire.JobId(run_id=run_id, case=planned.case.name, ordinal=planned.ordinal, attempt=1)
        return wire.TrialJob(
            job=job,
            suite_text=suite_text,
            base="/nowhere",
            suite_digest=suite.digest,
            number=number,
            total=len(trials),
            options=wire.JobOptions(),
        ).model_copy(update=changes)

    def give(self, job: wire.TrialJob) -> Future[Any]:
        """To the phone that announced itself last."""
        assert self._client is not None
        return self._client.submit(
            tasks.run_trial,
            job.plain(),
            workers=[self.said[-1].worker],
            allow_other_workers=False,
            resources={PHONE_RESOURCE: 1},
            pure=False,
            retries=0,
        )

    async def report(self, job: wire.TrialJob) -> wire.JobReport:
        """Of a job that is given and awaited."""
        return wire.JobReport.read(await self.give(job))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():  # noqa: ASYNC110  # what it waits for is in other processes
                await asyncio.sleep(POLL_S)

    async def free_phone(self, since: int = 0) -> wire.Announcement:
        """The next announcement of a free phone, of those after the first `since`."""
        await self.until(lambda: any(one.state is wire.PhoneState.FREE for one in self.said[since:]))
        return next(one for one in self.said[since:] if one.state is wire.PhoneState.FREE)

    def _operation(
        self, does: Callable[[object], wire.Wire]
    ) -> Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]:
        async def handler(message: Mapping[str, Any]) -> dict[str, Any]:
            try:
                return wire.answer(does(message))
            except HarnessError as error:
                return wire.refusal(error)

        return handler

    def _hello(self, plain: object) -> wire.Wire:
        wire.Hello.read(plain)
        return wire.Nothing()

    def _announce(self, plain: object) -> wire.Wire:
        self.said.append(wire.Announcement.read(plain))
        orders, self.orders = self.orders, wire.Orders()
        return orders

    def _leave(self, plain: object) -> wire.Wire:
        self.left.append(wire.Leaves.read(plain))
        return wire.Nothing()

    def _examined(self, plain: object) -> wire.Wire:
        self.examined.append(wire.Examined.read(plain))
        return wire.Nothing()

    def _chunk(self, plain: object) -> wire.Wire:
        chunk = wire.Chunk.read(plain)
        there = self.files.setdefault((chunk.of, chunk.name), bytearray())
        if chunk.offset == len(there):
            there.extend(chunk.data)
        return wire.ChunkAnswer(next_offset=len(there))

    def _deliver(self, plain: object) -> wire.Wire:
        delivery = wire.Delivery.read(plain)
        if self.refuse_records is not None:
            raise self.refuse_records
        trial_id = delivery.record["trial_id"]
        missing = [file.name for file in delivery.files if not self._has(trial_id, file)]
        if missing:
            return wire.DeliveryAnswer(kept=Kept.RESULT, missing=tuple(missing))
        already = trial_id in self.records
        self.records[trial_id] = delivery.record
        return wire.DeliveryAnswer(kept=Kept.ALREADY if already else Kept.RESULT)

    def _has(self, trial_id: str, file: wire.DeliveredFile) -> bool:
        return hashlib.sha256(self.files.get((trial_id, file.name), b"?")).hexdigest() == file.sha256

    def _fetch(self, plain: object) -> wire.Wire:
        wanted = wire.FetchChunk.read(plain)
        blob = self.blobs[wanted.sha256]
        part = blob[wanted.offset : wanted.offset + 1_000_000]
        return wire.FetchedChunk(size_bytes=len(blob), data=part)

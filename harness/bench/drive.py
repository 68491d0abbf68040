"""Drives one process of the runner: launch, greeting, run, end, evidence; over new connections when one breaks.

A cable may be put back at any point. Before `run` was sent a fresh process is as good as the old one; after it only the
process that got it will do, and if that has ended, what the phone kept tells the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio

from harness.bench.attempt import Attempt
from harness.bench.cable import FAST_S, PATIENCE_S, CableWatch, refusal, was_away
from harness.bench.fate import EndWatch
from harness.bench.listener import Listener
from harness.bench.ready import wait_until_ready
from harness.bench.step_log import StepLog
from harness.core.errors import HarnessError
from harness.core.job import Job
from harness.core.outcome import HostFailure, Outcome
from harness.core.telemetry import Reading
from harness.device.errors import StepError
from harness.device.evidence import EvidenceCollector, ReportBook
from harness.device.readiness import AppReading, Needs, thermal_state, unmet_by_app, unmet_by_phone
from harness.device.session import PhoneSession
from harness.runner.client import Limits, RunnerClient, RunnerGone, RunnerSilent
from harness.runner.framing import FramingError
from harness.runner.messages import Event, HelloEvent, MessageError, PhaseEvent, SampleEvent
from harness.runner.observation import read_sample
from harness.store.telemetry import TelemetrySpool

# The cross-check's interval: below 200 ms the client library's decoding costs more than it tells.
MONITOR_INTERVAL_MS = 200
SPOOL_BATCH = 250
# Tries of each kind within one attempt: a cable that hangs loose must not keep a trial for ever.
MAX_LAUNCHES = 60
MAX_RECONNECTS = 60
MAX_MONITORS = 60
RECONNECT_PAUSE_S = 0.1
HANG_UP_LIMIT_S = 10.0
# After the process has ended, what it sent may still be on its way.
DRAIN_S = 0.5
# The app ends by itself after `bye`.
END_LIMIT_S = 5.0
# The offset at the end is a check, not worth waiting for.
CLOCK_AGAIN_LIMIT_S = 2.0
# Whatever happens, evidence is collected within this time beside the grace times, also after Ctrl-C.
CONCLUDE_LIMIT_S = 60.0
# How often a grace time may pass in it at most.
CONCLUDE_GRACES = 6
CLEAN_EXIT = "exit code 0"

_Value = TypeVar("_Value")
_GARBLED = (FramingError, MessageError)

log = logging.getLogger(__name__)


class AttemptRunner:
    """Does one attempt; `spool` receives the readings as they come (None: an attempt that is not measured)."""

    def __init__(
        self,
        session: PhoneSession,
        cable: CableWatch,
        book: ReportBook,
        trial_id: str,
        artifacts: Path,
        spool: TelemetrySpool | None,
        listener: Listener,
        steps: StepLog,
        *,
        needs: Needs,
        progress_limit_s: float,
        grace_s: float,
    ) -> None:
        self._session = session
        self._cable = cable
        self._trial_id = trial_id
        self._spool = spool
        self._listener = listener
        self._steps = steps
        self._needs = needs
        self._progress_limit_s = progress_limit_s
        self._conclude_limit_s = CONCLUDE_LIMIT_S + CONCLUDE_GRACES * grace_s
        self.attempt = Attempt(process_name=session.process_name)
        self._evidence = EvidenceCollector(
            session.transport,
            cable,
            book,
            session.runner.bundle_id,
            session.process_name,
            trial_id,
            artifacts,
            self.attempt.findings,
        )
        self._end: EndWatch | None = None
        self._port = 0
        self._unspooled: list[Reading] = []
        self._columns: list[str] = []

    async def run(self, job: Job) -> None:
        """Fills `attempt`, to its conclusion in every case.

        Never raises for what a phone or a model does; re-raises a cancellation after the evidence is safe.
        """
        attempt = self.attempt
        try:
            await self._drive(job)
        except StepError as error:
            attempt.host_failure = HostFailure(error.outcome, error.step, error.message)
        except HarnessError as error:
            attempt.host_failure = HostFailure(Outcome.HARNESS_ERROR, "trial", str(error))
        except asyncio.CancelledError:
            attempt.host_failure = HostFailure(Outcome.HARNESS_ERROR, "trial", "interrupted")
            raise
        except Exception as error:
            log.exception("trial %s: a fault of the harness", self._trial_id)
            attempt.host_failure = HostFailure(Outcome.HARNESS_ERROR, "trial", f"{type(error).__name__}: {error}")
        finally:
            with anyio.CancelScope(shield=True):
                await self._conclude(job)

    async def _drive(self, job: Job) -> None:
        with self._steps.step("note_reports"):
            await self._evidence.persist(self._evidence.note_reports_before)
        client: RunnerClient | None = None
        monitor: asyncio.Task[None] | None = None
        try:
            client = await self._begin()
            monitor = asyncio.create_task(self._monitor(self._running.pid))
            with self._steps.step("run"):
                await self._follow(client, job)
            with self._steps.step("clock_again"):
                await self._measure_clock_again(client)
            await client.bye()
        except RunnerGone:
            # the app ended, or the phone left: the evidence will say which
            log.debug("trial %s: the runner is gone", self._trial_id)
        except RunnerSilent:
            self.attempt.silent_beyond_limit = True
        finally:
            with anyio.move_on_after(HANG_UP_LIMIT_S, shield=True):
                self._flush_spool()
                if monitor is not None:
                    monitor.cancel()
                    await asyncio.wait([monitor])
                if client is not None:
                    await client.close()

    @property
    def _running(self) -> EndWatch:
        assert self._end is not None, "the process has been launched"
        return self._end

    # --- until the runner has been greeted

    async def _begin(self) -> RunnerClient:
        """Raises what the last try raised: StepError, or RunnerGone and its kin when the process got so far."""
        for number in range(1, MAX_LAUNCHES + 1):
            cuts, began_s = self._cable.count, time.monotonic()
            try:
                return await self._launch_and_greet()
            except (StepError, RunnerGone, RunnerSilent, *_GARBLED) as error:
                fast = time.monotonic() - began_s < FAST_S
                if number == MAX_LAUNCHES or not await self._may_launch_again(error, cuts, fast and number == 1):
                    await self._explain_refusal(error)
                    raise
                log.info("trial %s: launched again: %s", self._trial_id, error)
        raise AssertionError("the last launch returns or raises")

    async def _may_launch_again(self, error: Exception, cuts_before: int, first_and_fast: bool) -> bool:
        """After a cut always; else once, unless the phone refuses or the process ended by itself."""
        there = await self._cable.wait_back()
        if self._cable.count > cuts_before or was_away(error):
            return there
        refused = refusal(error)
        ended = self._end is not None and await self._end.wait(DRAIN_S)
        return there and first_and_fast and not refused and not ended

    async def _explain_refusal(self, error: Exception) -> None:
        """Raises StepError (not_ready) where a launch was refused and the phone says of itself why."""
        if not isinstance(error, StepError) or error.outcome is not Outcome.LAUNCH_FAILED:
            return
        try:
            condition = await self._session.transport.condition()
        except StepError:
            return
        words = [unmet.words for unmet in unmet_by_phone(self._needs, self._session.facts, condition)]
        if condition.locked:
            words.insert(0, "the phone says that it is locked. Unlock it and set Auto-Lock to Never")
        if words:
            text = f"{words[0]} ({error.message})"
            raise StepError(error.step, self._session.facts.udid, text, "", Outcome.NOT_READY) from error

    async def _launch_and_greet(self) -> RunnerClient:
        session, attempt, steps = self._session, self.attempt, self._steps
        await self._stop_end_watch()
        attempt.pid = None
        with steps.step("launch"):
            pid, self._port = await self._cable.through("launch", session.start_runner())
        attempt.pid = pid
        self._end = EndWatch(session.transport, self._cable, pid)
        self._end.start()
        with steps.step("connect"):
            connecting = session.connect_runner(pid, self._port)
            client = RunnerClient(*await self._cable.through("connect to the runner", connecting))
        attempt.streamed = client.seen
        try:
            with steps.step("hello"):
                hello = await self._while_connected(client.hello())
            self._check(hello)
            self._columns = hello.sample_columns
            if unmet_by_app(self._needs, _app_reading(hello)):
                with steps.step("ready_app"):
                    attempt.cooled_ns += await self._while_connected(self._wait_ready(client))
            else:
                attempt.app_reading = _app_reading(hello)
            with steps.step("clock"):
                attempt.clock = await self._while_connected(client.measure_clock())
        except BaseException:
            with anyio.move_on_after(HANG_UP_LIMIT_S, shield=True):
                await client.close()
            raise
        return client

    def _check(self, hello: HelloEvent) -> None:
        if hello.pid != self.attempt.pid:
            text = f"process {hello.pid} answered, {self.attempt.pid} was launched"
            raise StepError("launch", self._session.facts.udid, text, "Run again", Outcome.LAUNCH_FAILED)
        if hello.build != self._session.runner.build:
            text = f"build {hello.build} answered, {self._session.runner.build} is installed"
            raise StepError("launch", self._session.facts.udid, text, "Run again", Outcome.LAUNCH_FAILED)

    async def _wait_ready(self, client: RunnerClient) -> int:
        """The app, idle, tells by each greeting how the phone is now."""

        async def look() -> list[Any]:
            self.attempt.app_reading = _app_reading(await client.hello())
            return unmet_by_app(self._needs, self.attempt.app_reading)

        return await wait_until_ready(look, self._needs, self._session.facts.udid, self._listener)

    # --- the run

    async def _follow(self, client: RunnerClient, job: Job) -> None:
        """Reads events to the trial's end, over new connections when one breaks and the process lives on.

        Raises RunnerGone when it does not, RunnerSilent when the runner does not get on.
        """
        # staying loaded is what the job asked for, no lack of progress
        limits = Limits(progress_s=self._progress_limit_s + job.hold_ms / 1000)
        events = client.run(self._trial_id, job, limits)
        for _ in range(MAX_RECONNECTS):
            try:
                return await self._while_connected(self._read(events))
            except RunnerGone as error:
                log.debug("trial %s: %s", self._trial_id, error)
            except _GARBLED as error:
                self.attempt.findings.problems.append(f"the connection brought nonsense and was made anew: {error}")
            connection = await self._reconnect()
            events = client.resume(*connection, self._trial_id, job, limits)
        return await self._while_connected(self._read(events))

    async def _reconnect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises RunnerGone when the process has ended, lives without listening, or the phone does not come back."""
        for _ in range(MAX_RECONNECTS):
            if not await self._cable.wait_back():
                raise RunnerGone("the phone did not come back within the grace time")
            if self._running.ended.is_set():
                raise RunnerGone("the process has ended")
            with suppress(StepError):
                connecting = self._session.connect_runner(self._running.pid, self._port)
                return await self._cable.through("connect to the runner", connecting)
            await asyncio.sleep(RECONNECT_PAUSE_S)
        raise RunnerGone("the runner could not be reached again")

    async def _while_connected(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        """The work's value; RunnerGone when the process ends, or the phone leaves, and the connection stays silent."""
        working = asyncio.ensure_future(work)
        ended = asyncio.create_task(self._running.ended.wait())
        gone = asyncio.create_task(self._cable.wait_gone())
        try:
            await asyncio.wait({working, ended, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait({working}, timeout=DRAIN_S if ended.done() else PATIENCE_S)
            if working.done():
                return working.result()
            raise RunnerGone("the process has ended" if ended.done() else "the phone was unplugged")
        finally:
            for task in (working, ended, gone):
                task.cancel()
            await asyncio.wait({working, ended, gone})

    async def _read(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            if isinstance(event, PhaseEvent) and event.edge == "begin":
                self._listener.phase(event.name)
            elif isinstance(event, SampleEvent) and self._spool is not None:
                reading = read_sample(event, self._columns)
                if reading is not None:
                    self._unspooled.append(reading)
                if len(self._unspooled) >= SPOOL_BATCH:
                    self._flush_spool()

    def _flush_spool(self) -> None:
        if self._spool is not None:
            self._spool.append(self._unspooled)
            self._unspooled.clear()

    async def _measure_clock_again(self, client: RunnerClient) -> None:
        with suppress(TimeoutError, HarnessError):
            async with asyncio.timeout(CLOCK_AGAIN_LIMIT_S):
                self.attempt.clock_end = await self._while_connected(client.measure_clock())

    async def _monitor(self, pid: int) -> None:
        """The cross-check; losing it costs the trial nothing but the cross-check."""
        for number in range(1, MAX_MONITORS + 1):
            cuts = self._cable.count
            try:
                async for reading in self._session.transport.watch_process(pid, MONITOR_INTERVAL_MS):
                    self.attempt.host_readings.append(reading)
                return
            except StepError as error:
                there = await self._cable.wait_back()
                if not there or number == MAX_MONITORS or (self._cable.count == cuts and number > 1):
                    self.attempt.findings.problems.append(str(error))
                    return

    # --- the end

    async def _conclude(self, job: Job) -> None:
        attempt = self.attempt
        try:
            with anyio.fail_after(self._conclude_limit_s):
                with self._steps.step("end"):
                    await self._end_process()
                with self._steps.step("evidence"):
                    await self._collect()
        except TimeoutError:
            text = f"evidence could not be collected to its end within {self._conclude_limit_s:g} s"
            attempt.findings.problems.append(text)
        finally:
            await self._stop_end_watch()
        attempt.cuts = self._cable.cuts
        with self._steps.step("conclude"):
            attempt.conclude(job.backend)

    async def _collect(self) -> None:
        attempt = self.attempt
        ended = self._end is not None and self._end.ended.is_set()
        # who answered and then left in order needs no report
        reports = attempt.pid is not None and not (attempt.answered and attempt.termination == CLEAN_EXIT)

        def death_expected() -> bool:
            return not attempt.answered and not attempt.was_running and not attempt.answered_in_journal

        await self._evidence.collect(attempt.pid, ended=ended, reports=reports, death_expected=death_expected)

    async def _end_process(self) -> None:
        """The journal is complete only once the process has ended; one that will not end is killed."""
        attempt, end = self.attempt, self._end
        if end is None or not await self._cable.wait_back():
            return
        if attempt.answered:
            await end.wait(END_LIMIT_S)
        elif not end.ended.is_set():
            attempt.was_running = await self._evidence.persist(lambda: self._session.transport.is_running(end.pid))
            if attempt.was_running is False:
                await end.wait(DRAIN_S)
        if end.ended.is_set():
            attempt.termination = end.words
            return
        await self._evidence.persist(lambda: self._session.transport.kill(end.pid))
        if attempt.findings.not_ready is None:
            await end.wait(END_LIMIT_S)

    async def _stop_end_watch(self) -> None:
        if self._end is not None:
            await self._end.stop()


def _app_reading(hello: HelloEvent) -> AppReading:
    return AppReading(
        thermal_state(hello.thermal),
        hello.low_power,
        hello.ram_bytes,
        hello.footprint_bytes,
        hello.available_bytes,
        hello.largest_mapping_bytes,
    )

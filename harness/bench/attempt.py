"""One process of the runner, from its launch to the proof of its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from harness.bench.listener import Listener
from harness.core.errors import HarnessError
from harness.core.job import Job
from harness.core.outcome import Classification, HostFailure, Known, Outcome, RunnerError, classify
from harness.core.telemetry import Reading
from harness.device.errors import StepError
from harness.device.evidence import STDERR_FILE, EvidenceCollector, Findings
from harness.device.session import PhoneSession
from harness.runner.client import Clock, RunnerClient, RunnerGone, RunnerSilent, ends_trial
from harness.runner.journal import merge, parse_journal
from harness.runner.messages import (
    Event,
    HeartbeatEvent,
    HelloEvent,
    LogEvent,
    NoticeEvent,
    PhaseEvent,
    SampleEvent,
)
from harness.runner.observation import Observation, observe, read_sample
from harness.store.telemetry import TelemetrySpool

# The cross-check's interval: below 200 ms the client library's decoding costs more than it tells.
MONITOR_INTERVAL_MS = 200
SPOOL_BATCH = 250
# A cable may be put back: for so long the phone may be absent.
GRACE_S = 5.0
GRACE_POLL_S = 0.25
MAX_RECONNECTS = 3
_NO_PROGRESS = (SampleEvent, HeartbeatEvent, LogEvent, NoticeEvent)
# Whatever happens, evidence is collected within this time, also after Ctrl-C.
CONCLUDE_LIMIT_S = 60.0


@dataclass
class Attempt:
    """What is known of one process; filled while it runs, concluded afterwards."""

    pid: int | None = None
    clock: Clock | None = None
    streamed: list[Event] = field(default_factory=list)
    host_readings: list[Reading] = field(default_factory=list)
    host_failure: HostFailure | None = None
    silent_beyond_limit: bool = False
    was_running: bool | None = None
    """What the process list said before we ended the process ourselves."""
    findings: Findings = field(default_factory=Findings)
    observation: Observation = field(default_factory=Observation)
    missing_events: int = 0
    classification: Classification = field(default_factory=lambda: classify(Known()))

    @property
    def readings(self) -> list[Reading]:
        """The app's and, moved onto the app's clock, the host's, in order of time."""
        host = (
            [replace(reading, t_ns=reading.t_ns + self.clock.offset_ns) for reading in self.host_readings]
            if self.clock is not None
            else []
        )
        return sorted([*self.observation.readings, *host], key=lambda reading: reading.t_ns)

    @property
    def loaded(self) -> bool:
        return self.classification.outcome is Outcome.LOADED


class AttemptRunner:
    """Does one attempt; `spool` receives the readings as they come (None: an attempt that is not measured)."""

    def __init__(
        self,
        session: PhoneSession,
        trial_id: str,
        artifacts: Path,
        spool: TelemetrySpool | None,
        listener: Listener,
        progress_limit_s: float,
    ) -> None:
        self._session = session
        self._trial_id = trial_id
        self._spool = spool
        self._progress_limit_s = progress_limit_s
        self._listener = listener
        self._evidence = EvidenceCollector(session.transport, session.runner.bundle_id, trial_id, artifacts)
        self.attempt = Attempt()
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
        finally:
            with anyio.CancelScope(shield=True):
                await self._conclude(job)

    async def _drive(self, job: Job) -> None:
        session, attempt = self._session, self.attempt
        await self._evidence.note_reports_before()
        attempt.pid, port = await session.start_runner()
        client = RunnerClient(*await session.connect_runner(attempt.pid, port))
        attempt.streamed = client.seen
        monitor: asyncio.Task[None] | None = None
        try:
            hello = await client.hello()
            self._check(hello)
            self._columns = hello.sample_columns
            attempt.clock = await client.measure_clock()
            monitor = asyncio.create_task(self._monitor(attempt.pid))
            await self._follow(client, client.run(self._trial_id, job), attempt.pid, port)
            await client.bye()
        finally:
            if monitor is not None:
                monitor.cancel()
                await asyncio.wait([monitor])
            await client.close()
            self._flush_spool()

    def _check(self, hello: HelloEvent) -> None:
        if hello.pid != self.attempt.pid:
            text = f"process {hello.pid} answered, {self.attempt.pid} was launched"
            raise StepError("launch", self._session.facts.udid, text, "Run again", Outcome.LAUNCH_FAILED)
        if hello.build != self._session.runner.build:
            text = f"build {hello.build} answered, {self._session.runner.build} is installed"
            raise StepError("launch", self._session.facts.udid, text, "Run again", Outcome.LAUNCH_FAILED)

    async def _follow(self, client: RunnerClient, events: AsyncIterator[Event], pid: int, port: int) -> None:
        """Reads events to the trial's end, over new connections when one breaks and the process lives on."""
        for _ in range(MAX_RECONNECTS + 1):
            try:
                await self._read(events)
                return
            except RunnerSilent:
                self.attempt.silent_beyond_limit = True
                return
            except RunnerGone:
                if not await self._lives_on(pid):
                    return
                connection = await self._session.connect_runner(pid, port)
                events = client.resume(*connection)
        text = f"the connection to the runner broke {MAX_RECONNECTS + 1} times"
        raise StepError("trial", self._session.facts.udid, text, "Check the cable", Outcome.LOST)

    async def _read(self, events: AsyncIterator[Event]) -> None:
        """An engine can hang while samples and heartbeats go on, so they are signs of life but not of progress."""
        progress_s = time.monotonic()
        async for event in events:
            self._note(event)
            if not isinstance(event, _NO_PROGRESS):
                progress_s = time.monotonic()
            elif time.monotonic() - progress_s > self._progress_limit_s:
                raise RunnerSilent(f"no progress for {self._progress_limit_s:g} s")

    async def _lives_on(self, pid: int) -> bool:
        """After a break: is the phone there (waiting out the grace time), and does the process still run?"""
        transport = self._session.transport
        with anyio.move_on_after(GRACE_S):
            while not await transport.is_present():  # noqa: ASYNC110  # the phone's return is no event of ours
                await asyncio.sleep(GRACE_POLL_S)
            return await transport.is_running(pid)
        return False

    def _note(self, event: Event) -> None:
        if isinstance(event, PhaseEvent) and event.edge == "begin":
            self._listener.phase(event.name)
        if self._spool is None or not isinstance(event, SampleEvent):
            return
        reading = read_sample(event, self._columns)
        if reading is not None:
            self._unspooled.append(reading)
        if len(self._unspooled) >= SPOOL_BATCH:
            self._flush_spool()

    def _flush_spool(self) -> None:
        if self._spool is not None:
            self._spool.append(self._unspooled)
            self._unspooled.clear()

    async def _monitor(self, pid: int) -> None:
        """The cross-check; losing it costs the trial nothing but the cross-check."""
        try:
            async for reading in self._session.transport.watch_process(pid, MONITOR_INTERVAL_MS):
                self.attempt.host_readings.append(reading)
        except StepError as error:
            self.attempt.findings.problems.append(str(error))

    async def _conclude(self, job: Job) -> None:
        attempt = self.attempt
        problems = attempt.findings.problems
        try:
            with anyio.fail_after(CONCLUDE_LIMIT_S):
                await self._end_process()
                ended_by_itself = attempt.host_failure is None and not attempt.silent_beyond_limit
                silent_end = ended_by_itself and not self._has_answer(attempt.streamed)
                attempt.findings = await self._evidence.collect(attempt.pid, death_expected=silent_end)
        except TimeoutError:
            problems.append(f"evidence could not be collected within {CONCLUDE_LIMIT_S:g} s")
        attempt.findings.problems[:0] = problems
        merged = merge(attempt.streamed, parse_journal(attempt.findings.journal).events)
        attempt.observation = observe(merged.events)
        attempt.missing_events = merged.missing
        attempt.classification = classify(self._known(job))

    @staticmethod
    def _has_answer(events: list[Event]) -> bool:
        return any(ends_trial(event) for event in events)

    async def _end_process(self) -> None:
        """The journal is complete only once the process has ended; one that will not end is killed."""
        attempt = self.attempt
        if attempt.pid is None:
            return
        try:
            if attempt.silent_beyond_limit or attempt.host_failure is not None:
                attempt.was_running = await self._session.transport.is_running(attempt.pid)
                await self._session.transport.kill(attempt.pid)
            with contextlib.suppress(TimeoutError):
                await self._session.end_runner(attempt.pid)
        except StepError as error:
            attempt.findings.problems.append(str(error))

    def _known(self, job: Job) -> Known:
        attempt, seen, found = self.attempt, self.attempt.observation, self.attempt.findings
        return Known(
            pid=attempt.pid,
            requested_backend=job.backend,
            effective_backend=seen.backend.effective if seen.backend else None,
            backend_how=seen.backend.how if seen.backend else None,
            result_seen=seen.result is not None and not seen.result.cancelled,
            runner_error=RunnerError(seen.error.kind, seen.error.message, seen.error.phase) if seen.error else None,
            host_failure=attempt.host_failure,
            process_running=attempt.was_running if attempt.was_running is not None else found.process_running,
            phone_present=found.phone_present,
            silent_beyond_limit=attempt.silent_beyond_limit,
            last_phase=seen.last_phase,
            stderr=found.stderr or "\n".join(seen.log_lines),
            stderr_file=STDERR_FILE if found.stderr else None,
            crash_reports=found.crash_reports,
            jetsam_victims=found.jetsam_victims,
        )

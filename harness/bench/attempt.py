"""One process of the runner, from its launch to the proof of its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from harness.bench.listener import Listener
from harness.core.errors import HarnessError
from harness.core.job import Job
from harness.core.outcome import Classification, Family, HostFailure, Known, Outcome, RunnerError, classify
from harness.core.telemetry import Reading
from harness.device.errors import StepError
from harness.device.evidence import STDERR_FILE, EvidenceCollector, Findings
from harness.device.session import PhoneSession
from harness.runner.client import Clock, Limits, RunnerClient, RunnerGone, RunnerSilent, ends_trial
from harness.runner.journal import merge, parse_journal
from harness.runner.messages import Event, HelloEvent, PhaseEvent, SampleEvent
from harness.runner.observation import Observation, observe, read_sample
from harness.store.telemetry import TelemetrySpool

# The cross-check's interval: below 200 ms the client library's decoding costs more than it tells.
MONITOR_INTERVAL_MS = 200
SPOOL_BATCH = 250
# A cable may be put back: for so long the phone may be absent.
GRACE_S = 5.0
GRACE_POLL_S = 0.25
MAX_RECONNECTS = 3
HANG_UP_LIMIT_S = 10.0
# Whatever happens, evidence is collected within this time, also after Ctrl-C.
CONCLUDE_LIMIT_S = 60.0

log = logging.getLogger(__name__)


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
    def measured(self) -> bool:
        """The model loaded, be it on another backend than asked."""
        return self.classification.outcome.family is Family.MEASURED

    @property
    def answered(self) -> bool:
        return any(ends_trial(event) for event in self.streamed)

    def conclude(self, requested_backend: str) -> None:
        """Figures and verdict from the union of what came and what the phone kept."""
        journal = parse_journal(self.findings.journal)
        if journal.bad_lines or journal.torn_tail:
            torn = ", its last line is torn" if journal.torn_tail else ""
            self.findings.problems.append(f"journal: {journal.bad_lines} lines are no events{torn}")
        merged = merge(self.streamed, journal.events)
        self.observation = observe(merged.events)
        self.missing_events = merged.missing
        self.classification = classify(self._known(requested_backend))

    def _known(self, requested_backend: str) -> Known:
        seen, found = self.observation, self.findings
        return Known(
            pid=self.pid,
            requested_backend=requested_backend,
            effective_backend=seen.backend.effective if seen.backend else None,
            backend_how=seen.backend.how if seen.backend else None,
            result_seen=seen.result is not None and not seen.result.cancelled,
            runner_error=RunnerError(seen.error.kind, seen.error.message, seen.error.phase) if seen.error else None,
            host_failure=self.host_failure,
            process_running=self.was_running or found.process_running,
            phone_present=found.phone_present,
            not_ready=found.not_ready,
            silent_beyond_limit=self.silent_beyond_limit,
            last_phase=seen.last_phase,
            stderr=found.stderr or "\n".join(seen.log_lines),
            stderr_file=STDERR_FILE if found.stderr else None,
            crash_reports=found.crash_reports,
            jetsam_victims=found.jetsam_victims,
        )


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
        self.attempt = Attempt()
        self._evidence = EvidenceCollector(
            session.transport, session.runner.bundle_id, trial_id, artifacts, self.attempt.findings
        )
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
            await self._follow(client, job, attempt.pid, port)
            await client.bye()
        except RunnerGone:
            # the app ended, or the phone left: the evidence will say which
            log.debug("trial %s: the runner is gone", self._trial_id)
        except RunnerSilent:
            attempt.silent_beyond_limit = True
        finally:
            with anyio.move_on_after(HANG_UP_LIMIT_S, shield=True):
                self._flush_spool()
                if monitor is not None:
                    monitor.cancel()
                    await asyncio.wait([monitor])
                await client.close()

    def _check(self, hello: HelloEvent) -> None:
        if hello.pid != self.attempt.pid:
            text = f"process {hello.pid} answered, {self.attempt.pid} was launched"
            raise StepError("launch", self._session.facts.udid, text, "Run again", Outcome.LAUNCH_FAILED)
        if hello.build != self._session.runner.build:
            text = f"build {hello.build} answered, {self._session.runner.build} is installed"
            raise StepError("launch", self._session.facts.udid, text, "Run again", Outcome.LAUNCH_FAILED)

    async def _follow(self, client: RunnerClient, job: Job, pid: int, port: int) -> None:
        """Reads events to the trial's end, over new connections when one breaks and the process lives on.

        Raises RunnerGone when it does not, RunnerSilent when the runner does not get on.
        """
        # staying loaded is what the job asked for, no lack of progress
        limits = Limits(progress_s=self._progress_limit_s + job.hold_ms / 1000)
        events = client.run(self._trial_id, job, limits)
        for _ in range(MAX_RECONNECTS):
            try:
                return await self._read(events)
            except RunnerGone:
                if not await self._lives_on(pid):
                    raise
            try:
                connection = await self._session.connect_runner(pid, port)
            except StepError as error:
                # it ended after all, or lives without listening; the evidence will say which
                raise RunnerGone(str(error)) from error
            events = client.resume(*connection, self._trial_id, job, limits)
        return await self._read(events)

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

    async def _lives_on(self, pid: int) -> bool:
        """After a break: is the phone there (waiting out the grace time), and does the process still run?"""
        with anyio.move_on_after(GRACE_S):
            while True:
                try:
                    if await self._session.transport.is_present():
                        return await self._session.transport.is_running(pid)
                except StepError as error:
                    # usbmuxd itself may go and come with the cable
                    log.debug("trial %s: not back yet: %s", self._trial_id, error)
                await asyncio.sleep(GRACE_POLL_S)
        return False

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
        try:
            with anyio.fail_after(CONCLUDE_LIMIT_S):
                await self._end_process()
                died = not attempt.answered and not attempt.was_running
                await self._evidence.collect(attempt.pid, death_expected=died)
        except TimeoutError:
            text = f"evidence could not be collected to its end within {CONCLUDE_LIMIT_S:g} s"
            attempt.findings.problems.append(text)
        attempt.conclude(job.backend)

    async def _end_process(self) -> None:
        """The journal is complete only once the process has ended; one that will not end is killed."""
        attempt, transport = self.attempt, self._session.transport
        if attempt.pid is None:
            return
        try:
            if not attempt.answered:
                attempt.was_running = await transport.is_running(attempt.pid)
            if attempt.was_running:
                await transport.kill(attempt.pid)
            await self._session.end_runner(attempt.pid)
        except StepError as error:
            attempt.findings.problems.append(str(error))

"""One process of the runner, from its launch to the proof of its end.

What came and what the phone kept are put together here; `bench.drive` talks to the process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from harness.core.outcome import Classification, Family, HostFailure, Known, RunnerError, classify
from harness.core.telemetry import Cut, Reading
from harness.device.evidence import STDERR_FILE, Findings
from harness.device.readiness import AppReading
from harness.runner.client import Clock, ends_trial
from harness.runner.journal import Journal, merge, parse_journal
from harness.runner.messages import Event
from harness.runner.observation import Observation, observe

NS_PER_S = 1_000_000_000


@dataclass
class Attempt:
    """What is known of one process; filled while it runs, concluded afterwards."""

    pid: int | None = None
    process_name: str | None = None
    began_ns: int = field(default_factory=time.monotonic_ns)
    """On the host's monotonic clock."""
    clock: Clock | None = None
    clock_end: Clock | None = None
    """The same, measured again after the result."""
    app_reading: AppReading = field(default_factory=AppReading)
    """What the app said of the phone before the trial."""
    cooled_ns: int = 0
    """How long the app waited for the phone to be ready."""
    streamed: list[Event] = field(default_factory=list)
    host_readings: list[Reading] = field(default_factory=list)
    host_failure: HostFailure | None = None
    silent_beyond_limit: bool = False
    was_running: bool | None = None
    """What the process list said before we ended the process ourselves."""
    termination: str | None = None
    """How the phone told of its end, unless we had ended it."""
    cuts: list[Cut] = field(default_factory=list)
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
        """By what came over the connection."""
        return any(ends_trial(event) for event in self.streamed)

    @property
    def answered_in_journal(self) -> bool:
        """By what the phone kept, as far as it has been pulled."""
        return any(ends_trial(event) for event in self._journal().events)

    def conclude(self, requested_backend: str) -> None:
        """Figures and verdict from the union of what came and what the phone kept."""
        journal = self._journal()
        if journal.bad_lines or journal.torn_tail:
            torn = ", its last line is torn" if journal.torn_tail else ""
            self.findings.problems.append(f"journal: {journal.bad_lines} lines are no events{torn}")
        merged = merge(self.streamed, journal.events)
        self.observation = observe(merged.events)
        self.missing_events = merged.missing
        self.classification = classify(self._known(requested_backend))

    def _journal(self) -> Journal:
        return parse_journal(self.findings.journal)

    def _known(self, requested_backend: str) -> Known:
        seen, found = self.observation, self.findings
        return Known(
            pid=self.pid,
            process_name=self.process_name,
            window=found.window,
            requested_backend=requested_backend,
            effective_backend=seen.backend.effective if seen.backend else None,
            backend_how=seen.backend.how if seen.backend else None,
            result_seen=seen.result is not None and not seen.result.cancelled,
            runner_error=RunnerError(seen.error.kind, seen.error.message, seen.error.phase) if seen.error else None,
            host_failure=self.host_failure,
            process_running=self.was_running or found.process_running,
            termination=self.termination,
            phone_present=found.phone_present,
            cuts=[self._cut_in_words(cut) for cut in self.cuts],
            cut_while_running=self.pid is not None and any(cut.gone_ns >= self.began_ns for cut in self.cuts),
            not_ready=found.not_ready,
            silent_beyond_limit=self.silent_beyond_limit,
            last_phase=seen.last_phase,
            stderr=found.stderr or "\n".join(seen.log_lines),
            stderr_file=STDERR_FILE if found.stderr else None,
            crash_reports=found.crash_reports,
            jetsam_victims=found.jetsam_victims,
        )

    def _cut_in_words(self, cut: Cut) -> str:
        gone_s = (cut.gone_ns - self.began_ns) / NS_PER_S
        if cut.back_ns is None:
            return f"the phone was unplugged {gone_s:.1f} s into the trial and did not come back"
        away_s = (cut.back_ns - cut.gone_ns) / NS_PER_S
        return f"the phone was unplugged {gone_s:.1f} s into the trial and was back after {away_s:.1f} s"

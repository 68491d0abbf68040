"""What the phone itself says about the end of a trial: journal, stderr, new crash reports, the process list.

Everything found is kept as a file in the trial's artifacts folder, and parsed into `Findings` piece by piece: a step
that fails, or a time that runs out, loses only what was not yet found. What failed is said in `problems`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.core.outcome import CrashReport, JetsamVictim, Outcome
from harness.device.errors import StepError
from harness.device.interface import Container, FileContents, Transport
from harness.device.ips import MAX_REPORT_BYTES, ReportError, parse_report
from harness.runner.journal import MAX_JOURNAL_BYTES

TRIALS_FOLDER = "/Documents/trials"
MAX_STDERR_BYTES = 4 * 1024 * 1024
# Reports appear a moment after the death; a phone that has written none by then has none to write.
REPORT_LIMIT_S = 5.0
REPORT_POLL_S = 0.2
# Reports of one trial that are kept; a phone that throws up more has other troubles.
MAX_NEW_REPORTS = 32
JOURNAL_FILE = "journal.ndjson"
STDERR_FILE = "stderr.txt"

_REPORT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,200}\.ips\Z")
_Found = TypeVar("_Found")


@dataclass
class Findings:
    journal: bytes = b""
    stderr: str = ""
    crash_reports: list[CrashReport] = field(default_factory=list)
    jetsam_victims: list[JetsamVictim] = field(default_factory=list)
    process_running: bool | None = None
    phone_present: bool | None = None
    not_ready: str | None = None
    """The first refusal that a person must do something about."""
    problems: list[str] = field(default_factory=list)

    def explains_death_of(self, pid: int) -> bool:
        reports: list[CrashReport | JetsamVictim] = [*self.crash_reports, *self.jetsam_victims]
        return any(report.pid == pid for report in reports)


class EvidenceCollector:
    """For one trial of one app on one phone; `artifacts` is the trial's own folder on the host."""

    def __init__(
        self, transport: Transport, bundle_id: str, trial_id: str, artifacts: Path, findings: Findings
    ) -> None:
        self._transport = transport
        self._bundle_id = bundle_id
        self._trial_id = trial_id
        self._artifacts = artifacts
        self._findings = findings
        self._known_reports: frozenset[str] = frozenset()

    async def note_reports_before(self) -> None:
        """Call before the launch: reports that are there now are not this trial's."""
        self._known_reports = await self._transport.report_names()

    async def collect(self, pid: int | None, *, death_expected: bool) -> None:
        """`death_expected`: the app ended without a result, so wait a while for a report that explains it."""
        found = self._findings
        found.phone_present = await self._try(self._transport.is_present())
        if not found.phone_present:
            return
        if pid is not None:
            found.process_running = await self._try(self._transport.is_running(pid))
        await self._try(self._pull_files())
        await self._try(self._pull_reports(pid if death_expected and found.process_running is False else None))

    async def _try(self, step: Awaitable[_Found]) -> _Found | None:
        try:
            return await step
        except (StepError, OSError) as error:
            self._findings.problems.append(str(error))
            self._note_refusal(error)
            return None

    def _note_refusal(self, error: Exception) -> None:
        refused = isinstance(error, StepError) and error.outcome is Outcome.NOT_READY
        if refused and self._findings.not_ready is None:
            self._findings.not_ready = str(error)

    async def _pull_files(self) -> None:
        async with self._transport.container(self._bundle_id) as container:
            stem = f"{TRIALS_FOLDER}/{self._trial_id}"
            journal = await self._try(self._pull_file(container, f"{stem}.ndjson", MAX_JOURNAL_BYTES, JOURNAL_FILE))
            if journal:
                self._findings.journal = journal
            # the last words decide, so the end is what is wanted of a long one
            stderr = await self._try(
                self._pull_file(container, f"{stem}.stderr", MAX_STDERR_BYTES, STDERR_FILE, from_end=True)
            )
            if stderr:
                self._findings.stderr = stderr.decode(errors="replace")

    async def _pull_file(
        self, container: Container, path: str, max_bytes: int, name: str, *, from_end: bool = False
    ) -> bytes:
        """Empty when there is none. What is whole on the host is removed from the phone, which would fill up."""
        contents: FileContents | None = await container.read(path, max_bytes, from_end=from_end)
        if contents is None:
            return b""
        if contents.data:
            (self._artifacts / name).write_bytes(contents.data)
        if len(contents.data) < contents.size:
            part = "end" if from_end else "begin"
            text = f"{name}: only the {part} was read, {len(contents.data)} of {contents.size} bytes; left on the phone"
            self._findings.problems.append(text)
        else:
            await container.remove(path)
        return contents.data

    async def _pull_reports(self, explain_pid: int | None) -> None:
        deadline = asyncio.get_running_loop().time() + REPORT_LIMIT_S
        while True:
            await self._pull_new_reports()
            if explain_pid is None or self._findings.explains_death_of(explain_pid):
                return
            if asyncio.get_running_loop().time() >= deadline:
                text = f"no crash report of process {explain_pid} appeared within {REPORT_LIMIT_S:g} s"
                self._findings.problems.append(text)
                return
            await asyncio.sleep(REPORT_POLL_S)

    async def _pull_new_reports(self) -> None:
        new = sorted(await self._transport.report_names() - self._known_reports)
        self._known_reports |= frozenset(new)
        for name in new[:MAX_NEW_REPORTS]:
            await self._try(self._pull_report(name))
        if len(new) > MAX_NEW_REPORTS:
            text = f"{len(new) - MAX_NEW_REPORTS} of {len(new)} new crash reports were left on the phone"
            self._findings.problems.append(text)

    async def _pull_report(self, name: str) -> None:
        if not _REPORT_NAME.match(name):
            self._findings.problems.append(f"a crash report with an odd name was left on the phone: {name[:80]!a}")
            return
        data = await self._transport.read_report(name, MAX_REPORT_BYTES)
        (self._artifacts / name).write_bytes(data)
        try:
            report = parse_report(data, name)
        except ReportError as error:
            self._findings.problems.append(str(error))
            return
        if isinstance(report, CrashReport):
            self._findings.crash_reports.append(report)
        elif report is not None:
            self._findings.jetsam_victims.append(report)

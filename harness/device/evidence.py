"""What the phone itself says about the end of a trial: journal, stderr, new crash reports, the process list.

Everything found is kept as a file in the trial's artifacts folder, and returned parsed. A step that fails here
loses only its own piece: the rest is still collected, and what failed is said in `problems`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.core.outcome import CrashReport, JetsamVictim
from harness.device.errors import StepError
from harness.device.interface import Transport
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
    problems: list[str] = field(default_factory=list)

    def explains_death_of(self, pid: int) -> bool:
        reports: list[CrashReport | JetsamVictim] = [*self.crash_reports, *self.jetsam_victims]
        return any(report.pid == pid for report in reports)


class EvidenceCollector:
    """For one trial of one app on one phone; `artifacts` is the trial's own folder on the host."""

    def __init__(self, transport: Transport, bundle_id: str, trial_id: str, artifacts: Path) -> None:
        self._transport = transport
        self._bundle_id = bundle_id
        self._trial_id = trial_id
        self._artifacts = artifacts
        self._known_reports: frozenset[str] = frozenset()

    async def note_reports_before(self) -> None:
        """Call before the launch: reports that are there now are not this trial's."""
        self._known_reports = await self._transport.report_names()

    async def collect(self, pid: int | None, *, death_expected: bool) -> Findings:
        """`death_expected`: the app ended without a result, so wait a while for a report that explains it."""
        findings = Findings()
        findings.phone_present = await self._try(findings, self._transport.is_present())
        if not findings.phone_present:
            return findings
        if pid is not None:
            findings.process_running = await self._try(findings, self._transport.is_running(pid))
        await self._try(findings, self._pull_files(findings))
        wait_for_report = death_expected and pid is not None and findings.process_running is False
        await self._try(findings, self._pull_reports(findings, pid if wait_for_report else None))
        return findings

    async def _try(self, findings: Findings, step: Awaitable[_Found]) -> _Found | None:
        try:
            return await step
        except StepError as error:
            findings.problems.append(str(error))
            return None

    async def _pull_files(self, findings: Findings) -> None:
        async with self._transport.container(self._bundle_id) as container:
            stem = f"{TRIALS_FOLDER}/{self._trial_id}"
            journal = await container.read(f"{stem}.ndjson", MAX_JOURNAL_BYTES)
            stderr = await container.read(f"{stem}.stderr", MAX_STDERR_BYTES)
            if journal is not None:
                findings.journal = journal
                (self._artifacts / JOURNAL_FILE).write_bytes(journal)
            if stderr:
                findings.stderr = stderr.decode(errors="replace")
                (self._artifacts / STDERR_FILE).write_bytes(stderr)
            # kept on the host now; a farm's phone would fill up with them
            await container.remove(f"{stem}.ndjson")
            await container.remove(f"{stem}.stderr")

    async def _pull_reports(self, findings: Findings, explain_pid: int | None) -> None:
        deadline = asyncio.get_running_loop().time() + REPORT_LIMIT_S
        while True:
            await self._pull_new_reports(findings)
            if explain_pid is None or findings.explains_death_of(explain_pid):
                return
            if asyncio.get_running_loop().time() >= deadline:
                findings.problems.append(
                    f"no crash report of process {explain_pid} appeared within {REPORT_LIMIT_S:g} s"
                )
                return
            await asyncio.sleep(REPORT_POLL_S)

    async def _pull_new_reports(self, findings: Findings) -> None:
        new = sorted(await self._transport.report_names() - self._known_reports)
        self._known_reports |= frozenset(new)
        for name in new[:MAX_NEW_REPORTS]:
            if not _REPORT_NAME.match(name):
                findings.problems.append(f"a crash report with an odd name was left on the phone: {name[:80]!r}")
                continue
            data = await self._transport.read_report(name, MAX_REPORT_BYTES)
            (self._artifacts / name).write_bytes(data)
            try:
                report = parse_report(data, name)
            except ReportError as error:
                findings.problems.append(str(error))
                continue
            if isinstance(report, CrashReport):
                findings.crash_reports.append(report)
            elif report is not None:
                findings.jetsam_victims.append(report)

"""What the phone itself says about the end of a trial: journal, stderr, new crash reports, the process list.

Everything found is kept as a file in the trial's artifacts folder, and parsed into `Findings` piece by piece: a step
that fails, or a time that runs out, loses only what was not yet found. What failed is said in `problems`. A step that
a cut breaks is repeated once the phone is back.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from harness.core.matching import OurProcess, TrialWindow, match_report
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


class Cable(Protocol):
    """Whether the phone is attached, and steps that outlive a cut."""

    async def wait_back(self) -> bool:
        """True once the phone is there, now or within the grace time."""
        ...

    async def persist(self, step: Callable[[], Awaitable[_Found]]) -> _Found:
        """The step's value; repeated after a cut while the phone comes back. Raises what the last try raised."""
        ...


@dataclass
class ReportBook:
    """Names of the crash reports that were seen on a phone; None before the first look. Shared by its trials."""

    seen: frozenset[str] | None = None


@dataclass
class Findings:
    journal: bytes = b""
    stderr: str = ""
    crash_reports: list[CrashReport] = field(default_factory=list)
    jetsam_victims: list[JetsamVictim] = field(default_factory=list)
    process_running: bool | None = None
    phone_present: bool | None = None
    phone_clock_offsets_ns: list[int] = field(default_factory=list)
    """The phone's wall clock minus the host's: before the launch, and after the end."""
    window: TrialWindow | None = None
    not_ready: str | None = None
    """The first refusal that a person must do something about."""
    problems: list[str] = field(default_factory=list)

    def explains_death_of(self, ours: OurProcess) -> bool:
        reports: list[CrashReport | JetsamVictim] = [*self.crash_reports, *self.jetsam_victims]
        return any(match_report(one.pid, one.process, one.captured_at, ours).ours for one in reports)


class EvidenceCollector:
    """For one trial of one app on one phone; `artifacts` is the trial's own folder on the host."""

    def __init__(
        self,
        transport: Transport,
        cable: Cable,
        book: ReportBook,
        bundle_id: str,
        process_name: str | None,
        trial_id: str,
        artifacts: Path,
        findings: Findings,
    ) -> None:
        self._transport = transport
        self._cable = cable
        self._book = book
        self._bundle_id = bundle_id
        self._process_name = process_name
        self._trial_id = trial_id
        self._artifacts = artifacts
        self._findings = findings
        self._began_ns = time.time_ns()
        self._unread: set[str] = set()

    async def note_reports_before(self) -> None:
        """Call before the launch: reports that are there now are not this trial's."""
        self._began_ns = time.time_ns()
        if self._book.seen is None:
            self._book.seen = await self._transport.report_names()

    async def collect(self, pid: int | None, *, ended: bool, reports: bool, death_expected: Callable[[], bool]) -> None:
        """All there is.

        `ended`: the phone has told that the process is gone. `reports`: look for crash reports. `death_expected`, asked
        once the files are here: the app ended without a result, so wait a while for a report that explains it.
        """
        found = self._findings
        found.phone_present = await self._cable.wait_back()
        if ended:
            found.process_running = False
        if not found.phone_present:
            return
        if pid is not None and not ended:
            found.process_running = await self.persist(lambda: self._transport.is_running(pid))
        await self.persist(self._pull_files)
        await self.persist(self._note_clock)
        found.window = TrialWindow(self._began_ns, time.time_ns(), tuple(found.phone_clock_offsets_ns))
        if reports:
            awaited = pid if found.process_running is False and death_expected() else None
            await self.persist(lambda: self._pull_reports(OurProcess(awaited, self._process_name)))
        # the phone may have left while its evidence was pulled
        found.phone_present = await self._cable.wait_back()

    async def persist(self, step: Callable[[], Awaitable[_Found]]) -> _Found | None:
        """The step's value, repeated through cuts; None with a problem noted when it fails for good."""
        try:
            return await self._cable.persist(step)
        except (StepError, OSError) as error:
            self._findings.problems.append(str(error))
            refused = isinstance(error, StepError) and error.outcome is Outcome.NOT_READY
            if refused and self._findings.not_ready is None:
                self._findings.not_ready = str(error)
            return None

    async def _note_clock(self) -> None:
        offset_ns = (await self._transport.condition()).clock_offset_ns
        if offset_ns is not None:
            self._findings.phone_clock_offsets_ns.append(offset_ns)

    async def _pull_files(self) -> None:
        async with self._transport.container(self._bundle_id) as container:
            stem = f"{TRIALS_FOLDER}/{self._trial_id}"
            await self._pull_file(container, f"{stem}.ndjson", MAX_JOURNAL_BYTES, JOURNAL_FILE, self._keep_journal)
            # the last words decide, so the end is what is wanted of a long one
            await self._pull_file(
                container, f"{stem}.stderr", MAX_STDERR_BYTES, STDERR_FILE, self._keep_stderr, from_end=True
            )

    def _keep_journal(self, data: bytes) -> None:
        self._findings.journal = data

    def _keep_stderr(self, data: bytes) -> None:
        self._findings.stderr = data.decode(errors="replace")

    async def _pull_file(
        self,
        container: Container,
        path: str,
        max_bytes: int,
        name: str,
        keep: Callable[[bytes], None],
        *,
        from_end: bool = False,
    ) -> None:
        """Nothing when there is none. What is whole on the host is removed from the phone, which would fill up."""
        contents: FileContents | None = await container.read(path, max_bytes, from_end=from_end)
        if contents is None:
            return
        if contents.data:
            (self._artifacts / name).write_bytes(contents.data)
            # kept before the removal: a cut between the two must not lose it
            keep(contents.data)
        if len(contents.data) < contents.size:
            part = "end" if from_end else "begin"
            text = f"{name}: only the {part} was read, {len(contents.data)} of {contents.size} bytes; left on the phone"
            self._findings.problems.append(text)
        else:
            await container.remove(path)

    async def _pull_reports(self, awaited: OurProcess) -> None:
        deadline = asyncio.get_running_loop().time() + REPORT_LIMIT_S
        while True:
            await self._pull_new_reports()
            ours = OurProcess(awaited.pid, awaited.name, self._findings.window)
            if awaited.pid is None or self._findings.explains_death_of(ours):
                return
            if asyncio.get_running_loop().time() >= deadline:
                text = f"no crash report of process {awaited.pid} appeared within {REPORT_LIMIT_S:g} s"
                self._findings.problems.append(text)
                return
            await asyncio.sleep(REPORT_POLL_S)

    async def _pull_new_reports(self) -> None:
        seen = self._book.seen
        names = await self._transport.report_names()
        # widened before the reports are judged: they are as old as this at most
        self._findings.window = TrialWindow(
            self._began_ns, time.time_ns(), tuple(self._findings.phone_clock_offsets_ns)
        )
        if seen is None:
            # nobody could look before the launch: everything is new, and only what fits in time is ours
            seen = frozenset()
        new = sorted(names - seen)
        for name in new[:MAX_NEW_REPORTS]:
            try:
                await self._pull_report(name)
            except StepError as error:
                if name not in self._unread:
                    # once more, on a new connection; the others are not to be lost for the sake of one
                    self._unread.add(name)
                    raise
                self._findings.problems.append(str(error))
            self._book.seen = seen = seen | {name}
        self._book.seen = seen | names
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

"""How a trial ended, and the rule that decides it from what is known.

The table of `docs/outcomes.md`, as code: the first row that matches wins. Nothing here guesses: what no evidence
decides is `unknown`, and that is never counted as loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar


class Family(StrEnum):
    MEASURED = "measured"
    MODEL = "model"
    DEVICE = "device"
    HOST = "host"


class Outcome(StrEnum):
    LOADED = "loaded"
    FELL_BACK = "fell_back"
    LOAD_ERROR = "load_error"
    GENERATE_ERROR = "generate_error"
    BAD_ALLOC = "bad_alloc"
    ABORTED = "aborted"
    GPU_FAULT = "gpu_fault"
    CRASHED = "crashed"
    JETSAM = "jetsam"
    HUNG = "hung"
    LOST = "lost"
    NOT_READY = "not_ready"
    INSTALL_FAILED = "install_failed"
    PUSH_FAILED = "push_failed"
    LAUNCH_FAILED = "launch_failed"
    HARNESS_ERROR = "harness_error"
    UNKNOWN = "unknown"

    @property
    def family(self) -> Family:
        return _FAMILIES[self]


_FAMILIES = {
    Outcome.LOADED: Family.MEASURED,
    Outcome.FELL_BACK: Family.MEASURED,
    Outcome.LOAD_ERROR: Family.MODEL,
    Outcome.GENERATE_ERROR: Family.MODEL,
    Outcome.BAD_ALLOC: Family.MODEL,
    Outcome.ABORTED: Family.MODEL,
    Outcome.GPU_FAULT: Family.MODEL,
    Outcome.CRASHED: Family.MODEL,
    Outcome.JETSAM: Family.MODEL,
    Outcome.HUNG: Family.MODEL,
    Outcome.LOST: Family.DEVICE,
    Outcome.NOT_READY: Family.DEVICE,
    Outcome.INSTALL_FAILED: Family.HOST,
    Outcome.PUSH_FAILED: Family.HOST,
    Outcome.LAUNCH_FAILED: Family.HOST,
    Outcome.HARNESS_ERROR: Family.HOST,
    Outcome.UNKNOWN: Family.HOST,
}


class EvidenceKind(StrEnum):
    RESULT = "result"
    RUNNER_ERROR = "runner_error"
    BACKEND = "backend"
    JOURNAL = "journal"
    STDERR = "stderr"
    CRASH_REPORT = "crash_report"
    JETSAM_EVENT = "jetsam_event"
    PROCESS_LIST = "process_list"
    PRESENCE = "presence"
    STEP = "step"


@dataclass(frozen=True)
class Evidence:
    """One thing that is known about a trial's end; `file` is its name among the trial's artifacts, if kept."""

    kind: EvidenceKind
    text: str
    file: str | None = None
    decisive: bool = False


@dataclass(frozen=True)
class CrashReport:
    """An app crash report (bug type 309) as far as the verdict needs it."""

    pid: int
    process: str
    signal: str | None
    exception: str | None
    messages: tuple[str, ...]
    """What the process said of its end (`asi`): libc++abi's line, a CHECK that failed."""
    captured_at: str | None
    file: str


@dataclass(frozen=True)
class JetsamVictim:
    """The process that a JetsamEvent (bug type 298) says was killed."""

    pid: int
    process: str
    reason: str
    footprint_bytes: int
    lifetime_max_bytes: int | None
    captured_at: str | None
    file: str


@dataclass(frozen=True)
class RunnerError:
    """The runner's `error` event."""

    kind: str
    message: str
    phase: str | None


@dataclass(frozen=True)
class HostFailure:
    """A step of the host that failed before the runner could answer for the trial."""

    outcome: Outcome
    step: str
    message: str


@dataclass(frozen=True)
class Known:
    """All that was found out about a trial's end. None is `not found out`, not `no`."""

    pid: int | None = None
    requested_backend: str = ""
    effective_backend: str | None = None
    backend_how: str | None = None
    result_seen: bool = False
    runner_error: RunnerError | None = None
    host_failure: HostFailure | None = None
    process_running: bool | None = None
    phone_present: bool | None = None
    not_ready: str | None = None
    """What the phone refused while evidence was sought: trust revoked, locked, Developer Mode off."""
    silent_beyond_limit: bool = False
    last_phase: str | None = None
    stderr: str = ""
    stderr_file: str | None = None
    crash_reports: Sequence[CrashReport] = ()
    jetsam_victims: Sequence[JetsamVictim] = ()


@dataclass(frozen=True)
class Classification:
    outcome: Outcome
    reason: str
    evidence: tuple[Evidence, ...]


# What the runner's kinds of errors are; the others are faults of the harness (a bad job, a missing cache).
_RUNNER_ERROR_OUTCOMES = {
    "load_error": Outcome.LOAD_ERROR,
    "generate_error": Outcome.GENERATE_ERROR,
    "wrong_digest": Outcome.PUSH_FAILED,
    "unknown_model": Outcome.PUSH_FAILED,
}
_OUT_OF_MEMORY = "memory_error"
_GENERATE_PHASES = ("prefill", "first_token", "decode")

EMULATED_GPU = "cpu (gpu emulated)"
"""The effective backend of a job for the GPU on a virtual phone that emulates one: the engine ran on the CPU."""

_Report = TypeVar("_Report", CrashReport, JetsamVictim)

_BAD_ALLOC = "std::bad_alloc"
_SIGNALS_OF_FAULTS = ("SIGSEGV", "SIGBUS")


def classify(known: Known) -> Classification:
    """The outcome that the evidence proves, with the evidence in the order in which it was weighed."""
    weighed = _weigh(known)
    outcome, reason = _decide(known)
    return Classification(outcome, reason, _mark_decisive(weighed, outcome))


def _decide(known: Known) -> tuple[Outcome, str]:
    if known.result_seen and known.host_failure is None:
        return _measured(known)
    if known.runner_error is not None:
        return _runner_error_outcome(known.runner_error), known.runner_error.message
    # what the phone proves about our process outranks the trouble that we had with it
    crash = _of_pid(known.crash_reports, known.pid)
    victim = _of_pid(known.jetsam_victims, known.pid)
    if known.process_running is False and crash is not None:
        return _crashed(known, crash)
    if known.process_running is False and victim is not None:
        return Outcome.JETSAM, f"killed by the phone: {victim.reason} at {victim.footprint_bytes} bytes"
    if known.host_failure is not None:
        if known.phone_present is False:
            return Outcome.LOST, f"the phone is gone since {known.host_failure.step}: {known.host_failure.message}"
        return known.host_failure.outcome, f"{known.host_failure.step}: {known.host_failure.message}"
    if known.silent_beyond_limit and known.process_running:
        return Outcome.HUNG, f"no progress within the limit during {known.last_phase or 'start'}"
    if known.phone_present is False:
        return Outcome.LOST, "the phone is gone and did not come back within the grace time"
    if known.process_running is False and _BAD_ALLOC in known.stderr:
        return Outcome.BAD_ALLOC, _line_with(known.stderr, _BAD_ALLOC)
    if known.not_ready is not None:
        return Outcome.NOT_READY, known.not_ready
    return Outcome.UNKNOWN, "no evidence decides how the trial ended"


def _measured(known: Known) -> tuple[Outcome, str]:
    if known.effective_backend is None:
        return Outcome.UNKNOWN, "a result came, but the runner could not tell on which backend it ran"
    if (known.requested_backend, known.effective_backend) == ("gpu", EMULATED_GPU):
        return Outcome.LOADED, "result received; the GPU is emulated: the engine ran on the CPU"
    if known.effective_backend != known.requested_backend:
        return Outcome.FELL_BACK, f"asked for {known.requested_backend}, ran on {known.effective_backend}"
    return Outcome.LOADED, f"result received, on {known.effective_backend}"


def _runner_error_outcome(error: RunnerError) -> Outcome:
    if error.kind == _OUT_OF_MEMORY:
        return Outcome.GENERATE_ERROR if error.phase in _GENERATE_PHASES else Outcome.LOAD_ERROR
    return _RUNNER_ERROR_OUTCOMES.get(error.kind, Outcome.HARNESS_ERROR)


def _crashed(known: Known, crash: CrashReport) -> tuple[Outcome, str]:
    told = "\n".join((known.stderr, *crash.messages))
    if _BAD_ALLOC in told:
        return Outcome.BAD_ALLOC, _line_with(told, _BAD_ALLOC)
    if crash.signal == "SIGABRT":
        said = [line.strip() for line in known.stderr.splitlines() if line.strip()]
        return Outcome.ABORTED, (said or list(crash.messages) or ["SIGABRT without a message"])[-1]
    if crash.signal in _SIGNALS_OF_FAULTS and (known.effective_backend or known.requested_backend) == "gpu":
        return Outcome.GPU_FAULT, f"{crash.signal} on the GPU during {known.last_phase or 'start'}"
    return Outcome.CRASHED, f"{crash.signal or crash.exception or 'crash'} during {known.last_phase or 'start'}"


def _of_pid(reports: Sequence[_Report], pid: int | None) -> _Report | None:
    return next((report for report in reports if report.pid == pid), None)


def _line_with(text: str, word: str) -> str:
    return next((line.strip() for line in text.splitlines() if word in line), word)


def _weigh(known: Known) -> list[Evidence]:
    """Every finding in plain words; `decisive` is set afterwards."""
    found: list[Evidence] = []

    def add(kind: EvidenceKind, text: str, file: str | None = None) -> None:
        found.append(Evidence(kind, text, file))

    if known.host_failure is not None:
        add(EvidenceKind.STEP, f"step {known.host_failure.step} failed: {known.host_failure.message}")
    if known.result_seen:
        add(EvidenceKind.RESULT, "the runner sent its result")
    if known.backend_how is not None:
        add(EvidenceKind.BACKEND, f"{known.effective_backend or 'unknown'}: {known.backend_how}")
    if known.runner_error is not None:
        where = f" in {known.runner_error.phase}" if known.runner_error.phase else ""
        add(EvidenceKind.RUNNER_ERROR, f"{known.runner_error.kind}{where}: {known.runner_error.message}")
    for crash in known.crash_reports:
        told = "; ".join(crash.messages) or "no message"
        match = "matches our pid" if crash.pid == known.pid else f"not ours, our pid is {known.pid}"
        text = f"crash report of {crash.process} pid {crash.pid} ({match}): {crash.signal or crash.exception}: {told}"
        add(EvidenceKind.CRASH_REPORT, text, crash.file)
    for victim in known.jetsam_victims:
        match = "matches our pid" if victim.pid == known.pid else f"not ours, our pid is {known.pid}"
        add(
            EvidenceKind.JETSAM_EVENT,
            f"JetsamEvent: {victim.process} pid {victim.pid} ({match}) killed for {victim.reason} "
            f"at {victim.footprint_bytes} bytes",
            victim.file,
        )
    if known.stderr.strip():
        add(EvidenceKind.STDERR, known.stderr.strip().splitlines()[-1], known.stderr_file)
    if known.process_running is not None:
        add(EvidenceKind.PROCESS_LIST, f"process {known.pid} {'still runs' if known.process_running else 'is gone'}")
    if known.phone_present is not None:
        add(EvidenceKind.PRESENCE, "the phone is attached" if known.phone_present else "the phone is absent")
    if known.not_ready is not None:
        add(EvidenceKind.PRESENCE, f"the phone refuses: {known.not_ready}")
    if known.last_phase is not None:
        add(EvidenceKind.JOURNAL, f"last phase begun: {known.last_phase}")
    return found


_DECIDING_KINDS = {
    Outcome.LOADED: (EvidenceKind.RESULT, EvidenceKind.BACKEND),
    Outcome.FELL_BACK: (EvidenceKind.RESULT, EvidenceKind.BACKEND),
    Outcome.LOAD_ERROR: (EvidenceKind.RUNNER_ERROR,),
    Outcome.GENERATE_ERROR: (EvidenceKind.RUNNER_ERROR,),
    Outcome.BAD_ALLOC: (EvidenceKind.CRASH_REPORT, EvidenceKind.STDERR),
    Outcome.ABORTED: (EvidenceKind.CRASH_REPORT,),
    Outcome.GPU_FAULT: (EvidenceKind.CRASH_REPORT,),
    Outcome.CRASHED: (EvidenceKind.CRASH_REPORT,),
    Outcome.JETSAM: (EvidenceKind.JETSAM_EVENT,),
    Outcome.HUNG: (EvidenceKind.PROCESS_LIST, EvidenceKind.JOURNAL),
    Outcome.LOST: (EvidenceKind.PRESENCE,),
    Outcome.NOT_READY: (EvidenceKind.PRESENCE, EvidenceKind.STEP),
    Outcome.UNKNOWN: (),
}


def _mark_decisive(found: list[Evidence], outcome: Outcome) -> tuple[Evidence, ...]:
    deciding = _DECIDING_KINDS.get(outcome, (EvidenceKind.STEP, EvidenceKind.RUNNER_ERROR))
    return tuple(Evidence(item.kind, item.text, item.file, item.kind in deciding) for item in found)

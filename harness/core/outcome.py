"""How a trial ended, and the rule that decides it from what is known.

The table of `docs/outcomes.md`, as code: the first row that matches wins. Nothing here guesses: what no evidence
decides is `unknown`, and that is never counted as loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from harness.core.matching import NS_PER_S, Match, OurProcess, TrialWindow, match_report


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

    @property
    def is_about_model(self) -> bool:
        """False: the phone, the cable or the host was in the way, which says nothing about the model."""
        return self.family in (Family.MEASURED, Family.MODEL)


def ends_text(counts: Iterable[tuple[str, int]]) -> str:
    """Outcomes and how many trials ended so, in words: `3 × loaded, 1 × jetsam`; in the order given."""
    return ", ".join(f"{count} × {name}" for name, count in counts)


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
    TERMINATION = "termination"
    PRESENCE = "presence"
    REFUSAL = "refusal"
    CLOCK = "clock"
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
    process_name: str | None = None
    window: TrialWindow | None = None
    """When the process lived: what reports of the phone must fit."""
    requested_backend: str = ""
    effective_backend: str | None = None
    backend_how: str | None = None
    result_seen: bool = False
    runner_error: RunnerError | None = None
    host_failure: HostFailure | None = None
    process_running: bool | None = None
    termination: str | None = None
    """How the phone itself told that our process ended, before we ended it: `signal 6`, `exit code 0`."""
    phone_present: bool | None = None
    cuts: Sequence[str] = ()
    """Each time that the phone was not attached, in words."""
    cut_while_running: bool = False
    """One of the cuts began after the launch of our process."""
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
# libc++abi, assert(3), Swift, and the logs of Abseil and glog say it so
_OF_AN_ABORT = re.compile(r"terminating|abort|assert|check failed|fatal|^F\d{4} ", re.IGNORECASE)
_SIGNALS_OF_FAULTS = ("SIGSEGV", "SIGBUS")
# Darwin's numbers, as a termination notice tells them. SIGKILL is not among them: it proves nobody's guilt.
_CRASH_SIGNALS = {
    "signal 4": "SIGILL",
    "signal 5": "SIGTRAP",
    "signal 6": "SIGABRT",
    "signal 8": "SIGFPE",
    "signal 10": "SIGBUS",
    "signal 11": "SIGSEGV",
}


def classify(known: Known) -> Classification:
    """The outcome that the evidence proves, with the evidence in the order in which it was weighed."""
    rule = _decide(known)
    evidence = tuple(
        Evidence(item.kind, item.text, item.file, item.weighty and item.kind in rule.deciding) for item in _weigh(known)
    )
    return Classification(rule.outcome, rule.reason, evidence)


@dataclass(frozen=True)
class _Rule:
    """The first rule that matches: its outcome, the outcome in one line, the kinds of evidence that decide."""

    outcome: Outcome
    reason: str
    deciding: tuple[EvidenceKind, ...]


def _decide(known: Known) -> _Rule:
    if known.result_seen and known.host_failure is None:
        return _measured(known)
    if known.runner_error is not None:
        outcome = _runner_error_outcome(known.runner_error)
        return _Rule(outcome, known.runner_error.message, (EvidenceKind.RUNNER_ERROR,))
    # what the phone proves about our process outranks the trouble that we had with it
    if (proven := _proven_death(known)) is not None:
        return proven
    if known.host_failure is not None:
        return _failed_step(known, known.host_failure)
    if known.silent_beyond_limit and known.process_running:
        reason = f"no progress within the limit during {known.last_phase or 'start'}"
        return _Rule(Outcome.HUNG, reason, (EvidenceKind.PROCESS_LIST, EvidenceKind.JOURNAL))
    if known.phone_present is False:
        reason = "the phone is gone and did not come back within the grace time"
        return _Rule(Outcome.LOST, reason, (EvidenceKind.PRESENCE,))
    if _gone(known) and _BAD_ALLOC in known.stderr:
        return _Rule(Outcome.BAD_ALLOC, _line_with(known.stderr, _BAD_ALLOC), (EvidenceKind.STDERR,))
    if known.not_ready is not None:
        return _Rule(Outcome.NOT_READY, known.not_ready, (EvidenceKind.REFUSAL,))
    if known.process_running is False and known.termination is None and known.cut_while_running:
        reason = "the phone was away and came back without the process, and no report says why: did it restart?"
        return _Rule(Outcome.LOST, reason, (EvidenceKind.PRESENCE, EvidenceKind.PROCESS_LIST))
    return _Rule(Outcome.UNKNOWN, _why_unknown(known), ())


def _gone(known: Known) -> bool:
    return known.process_running is False or (known.termination is not None and not known.process_running)


def _proven_death(known: Known) -> _Rule | None:
    """A report of the phone about our process, or its word of a crashing signal."""
    if not _gone(known):
        return None
    crash, victim = _ours(known, known.crash_reports), _ours(known, known.jetsam_victims)
    if crash is not None:
        return _crashed(known, crash.signal, crash.exception, crash.messages, EvidenceKind.CRASH_REPORT)
    if victim is not None:
        reason = f"killed by the phone: {victim.reason} at {victim.footprint_bytes} bytes"
        return _Rule(Outcome.JETSAM, reason, (EvidenceKind.JETSAM_EVENT,))
    signal = _CRASH_SIGNALS.get(known.termination or "")
    return None if signal is None else _crashed(known, signal, None, (), EvidenceKind.TERMINATION)


def _failed_step(known: Known, failure: HostFailure) -> _Rule:
    if known.phone_present is False:
        reason = f"the phone is gone since {failure.step}: {failure.message}"
        return _Rule(Outcome.LOST, reason, (EvidenceKind.PRESENCE,))
    return _Rule(failure.outcome, f"{failure.step}: {failure.message}", (EvidenceKind.STEP,))


def _why_unknown(known: Known) -> str:
    if known.termination is not None:
        return f"the process ended ({known.termination}) without a result, and no report says why"
    if known.process_running is False:
        return "the process is gone without a result, and no report says why"
    return "no evidence decides how the trial ended"


def _measured(known: Known) -> _Rule:
    if known.effective_backend is None:
        return _Rule(Outcome.UNKNOWN, "a result came, but the runner could not tell on which backend it ran", ())
    deciding = (EvidenceKind.RESULT, EvidenceKind.BACKEND)
    if (known.requested_backend, known.effective_backend) == ("gpu", EMULATED_GPU):
        return _Rule(Outcome.LOADED, "result received; the GPU is emulated: the engine ran on the CPU", deciding)
    if known.effective_backend != known.requested_backend:
        reason = f"asked for {known.requested_backend}, ran on {known.effective_backend}"
        return _Rule(Outcome.FELL_BACK, reason, deciding)
    return _Rule(Outcome.LOADED, f"result received, on {known.effective_backend}", deciding)


def _runner_error_outcome(error: RunnerError) -> Outcome:
    if error.kind == _OUT_OF_MEMORY:
        return Outcome.GENERATE_ERROR if error.phase in _GENERATE_PHASES else Outcome.LOAD_ERROR
    return _RUNNER_ERROR_OUTCOMES.get(error.kind, Outcome.HARNESS_ERROR)


def _crashed(
    known: Known, signal: str | None, exception: str | None, messages: Sequence[str], proof: EvidenceKind
) -> _Rule:
    told = "\n".join((known.stderr, *messages))
    during = known.last_phase or "start"
    if _BAD_ALLOC in told:
        deciding = (proof, EvidenceKind.STDERR) if _BAD_ALLOC in known.stderr else (proof,)
        return _Rule(Outcome.BAD_ALLOC, _line_with(told, _BAD_ALLOC), deciding)
    if signal == "SIGABRT":
        return _Rule(Outcome.ABORTED, _last_words(known.stderr, messages) or f"SIGABRT during {during}", (proof,))
    if signal in _SIGNALS_OF_FAULTS and (known.effective_backend or known.requested_backend) == "gpu":
        return _Rule(Outcome.GPU_FAULT, f"{signal} on the GPU during {during}", (proof,))
    return _Rule(Outcome.CRASHED, f"{signal or exception or 'crash'} during {during}", (proof,))


def _last_words(stderr: str, messages: Sequence[str]) -> str | None:
    """What a process said of its abort: the last such line, else what the report keeps; a mere warning is neither."""
    said = [line.strip() for line in stderr.splitlines() if _OF_AN_ABORT.search(line)]
    return next(reversed((*messages, *said)), None)


def _match(known: Known, report: CrashReport | JetsamVictim) -> Match:
    ours = OurProcess(known.pid, known.process_name, known.window)
    return match_report(report.pid, report.process, report.captured_at, ours)


def _ours(known: Known, reports: Sequence[_Report]) -> _Report | None:
    return next((report for report in reports if _match(known, report).ours), None)


def _line_with(text: str, word: str, otherwise: str | None = None) -> str:
    found = (line.strip() for line in text.splitlines() if word in line)
    return next(found, word if otherwise is None else otherwise)


@dataclass(frozen=True)
class _Weighed:
    kind: EvidenceKind
    text: str
    file: str | None = None
    weighty: bool = True
    """May decide; a report that is not ours may not."""


def _weigh(known: Known) -> list[_Weighed]:
    """Every finding in plain words."""
    found: list[_Weighed] = []

    def add(kind: EvidenceKind, text: str, file: str | None = None, *, weighty: bool = True) -> None:
        found.append(_Weighed(kind, text, file, weighty))

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
        match = _match(known, crash)
        text = f"crash report of {crash.process} pid {crash.pid} ({match.words}): "
        text += f"{crash.signal or crash.exception}: {told}"
        add(EvidenceKind.CRASH_REPORT, text, crash.file, weighty=match.ours)
    for victim in known.jetsam_victims:
        match = _match(known, victim)
        text = f"JetsamEvent: {victim.process} pid {victim.pid} ({match.words}) killed for {victim.reason} "
        text += f"at {victim.footprint_bytes} bytes"
        add(EvidenceKind.JETSAM_EVENT, text, victim.file, weighty=match.ours)
    if known.stderr.strip():
        # the line that decides, where one does: the last one may be about something else
        last = known.stderr.strip().splitlines()[-1]
        add(EvidenceKind.STDERR, _line_with(known.stderr, _BAD_ALLOC, last), known.stderr_file)
    if known.termination is not None:
        add(EvidenceKind.TERMINATION, f"the phone told that process {known.pid} ended: {known.termination}")
    if known.process_running is not None:
        state = "was still there" if known.process_running else "is gone"
        add(EvidenceKind.PROCESS_LIST, f"process {known.pid} {state}")
    for cut in known.cuts:
        add(EvidenceKind.PRESENCE, cut, weighty=known.cut_while_running)
    if known.phone_present is not None:
        add(EvidenceKind.PRESENCE, "the phone is attached" if known.phone_present else "the phone is absent")
    if known.not_ready is not None:
        add(EvidenceKind.REFUSAL, f"the phone refuses: {known.not_ready}")
    if known.window is not None and known.window.jump_ns is not None:
        moved_s = known.window.jump_ns / NS_PER_S
        add(EvidenceKind.CLOCK, f"the phone's wall clock jumped by {moved_s:+.0f} s during the trial")
    if known.last_phase is not None:
        add(EvidenceKind.JOURNAL, f"last phase begun: {known.last_phase}")
    return found

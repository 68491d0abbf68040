"""The table of docs/outcomes.md, row by row: what proves what, and that nothing else does."""

from __future__ import annotations

import pytest

from harness.core.outcome import (
    EMULATED_GPU,
    CrashReport,
    Family,
    HostFailure,
    JetsamVictim,
    Known,
    Outcome,
    RunnerError,
    classify,
)

PID = 4711
OTHER_PID = 815


def crash(signal: str = "SIGABRT", messages: tuple[str, ...] = (), pid: int = PID) -> CrashReport:
    return CrashReport(pid, "Runner", signal, "EXC_CRASH", messages, None, "Runner.ips")


def victim(pid: int = PID) -> JetsamVictim:
    return JetsamVictim(pid, "Runner", "per-process-limit", 94_371_840, 95_000_000, None, "JetsamEvent.ips")


def gone(**more: object) -> Known:
    return Known(pid=PID, requested_backend="cpu", process_running=False, phone_present=True, **more)  # type: ignore[arg-type]  # a shorthand for tests


BAD_ALLOC = "libc++abi: terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc"

ROWS = [
    (Known(requested_backend="cpu", effective_backend="cpu", result_seen=True), Outcome.LOADED),
    (Known(requested_backend="gpu", effective_backend="cpu", result_seen=True), Outcome.FELL_BACK),
    (Known(requested_backend="gpu", effective_backend=None, result_seen=True), Outcome.UNKNOWN),
    (Known(requested_backend="gpu", effective_backend=EMULATED_GPU, result_seen=True), Outcome.LOADED),
    (Known(requested_backend="cpu", effective_backend=EMULATED_GPU, result_seen=True), Outcome.FELL_BACK),
    (Known(runner_error=RunnerError("load_error", "no GPU", "create_engine")), Outcome.LOAD_ERROR),
    (Known(runner_error=RunnerError("generate_error", "decode failed", "decode")), Outcome.GENERATE_ERROR),
    (Known(runner_error=RunnerError("wrong_digest", "digest differs", "verify")), Outcome.PUSH_FAILED),
    (Known(runner_error=RunnerError("memory_error", "no memory", "create_engine")), Outcome.LOAD_ERROR),
    (Known(runner_error=RunnerError("memory_error", "no memory", "decode")), Outcome.GENERATE_ERROR),
    (Known(runner_error=RunnerError("something new", "?", None)), Outcome.HARNESS_ERROR),
    (gone(crash_reports=[crash()], stderr=BAD_ALLOC), Outcome.BAD_ALLOC),
    (gone(crash_reports=[crash(messages=(BAD_ALLOC,))]), Outcome.BAD_ALLOC),
    (gone(stderr=BAD_ALLOC), Outcome.BAD_ALLOC),
    (gone(crash_reports=[crash()], stderr="Check failed: x"), Outcome.ABORTED),
    (gone(crash_reports=[crash("SIGSEGV")]), Outcome.CRASHED),
    (gone(crash_reports=[crash("SIGSEGV")], effective_backend="gpu"), Outcome.GPU_FAULT),
    (
        Known(
            pid=PID,
            requested_backend="gpu",
            effective_backend="cpu",
            process_running=False,
            crash_reports=[crash("SIGSEGV")],
        ),
        Outcome.CRASHED,
    ),
    (gone(jetsam_victims=[victim()]), Outcome.JETSAM),
    (gone(jetsam_victims=[victim()], host_failure=HostFailure(Outcome.LAUNCH_FAILED, "launch", "x")), Outcome.JETSAM),
    (gone(crash_reports=[crash()], host_failure=HostFailure(Outcome.HARNESS_ERROR, "trial", "x")), Outcome.ABORTED),
    (gone(), Outcome.UNKNOWN),
    (Known(pid=PID, process_running=True, silent_beyond_limit=True), Outcome.HUNG),
    (Known(pid=PID, phone_present=False), Outcome.LOST),
    (Known(pid=PID, phone_present=True, not_ready="read the journal: not paired"), Outcome.NOT_READY),
    (Known(host_failure=HostFailure(Outcome.INSTALL_FAILED, "install", "refused")), Outcome.INSTALL_FAILED),
    (
        Known(phone_present=False, host_failure=HostFailure(Outcome.PUSH_FAILED, "push", "connection ended")),
        Outcome.LOST,
    ),
    (gone(cuts=["away for 1 s"], cut_while_running=True), Outcome.LOST),
    (gone(cuts=["away for 1 s"], cut_while_running=True, termination="signal 9"), Outcome.UNKNOWN),
    (gone(cuts=["away for 1 s"]), Outcome.UNKNOWN),
    (Known(), Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("known", "outcome"), ROWS, ids=[f"{index}-{row[1]}" for index, row in enumerate(ROWS)])
def test_evidence_decides(known: Known, outcome: Outcome) -> None:
    assert classify(known).outcome is outcome


def test_reports_of_other_processes_prove_nothing() -> None:
    known = gone(crash_reports=[crash(pid=OTHER_PID)], jetsam_victims=[victim(pid=OTHER_PID)])
    classification = classify(known)
    assert classification.outcome is Outcome.UNKNOWN
    assert sum("not ours" in item.text for item in classification.evidence) == 2, "but they are kept as evidence"


def test_a_crash_report_outweighs_a_jetsam_event() -> None:
    known = gone(crash_reports=[crash()], jetsam_victims=[victim()])
    assert classify(known).outcome is Outcome.ABORTED


def test_an_error_event_outweighs_how_the_process_ended() -> None:
    known = gone(runner_error=RunnerError("load_error", "no memory", "create_engine"), jetsam_victims=[victim()])
    assert classify(known).outcome is Outcome.LOAD_ERROR


def test_jetsam_is_proven_by_its_report() -> None:
    classification = classify(gone(jetsam_victims=[victim()], last_phase="create_engine"))
    decisive = [item for item in classification.evidence if item.decisive]
    assert [item.file for item in decisive] == ["JetsamEvent.ips"]
    assert "per-process-limit" in classification.reason
    assert str(victim().footprint_bytes) in classification.reason


def test_every_outcome_has_a_family() -> None:
    assert {outcome.family for outcome in Outcome} == set(Family)
    assert Outcome.UNKNOWN.family is not Family.MEASURED


def test_an_abort_is_told_in_the_process_own_words() -> None:
    check = "F0000 check.cc:1] Check failed: x"
    assert classify(gone(crash_reports=[crash(messages=("abort() called",))], stderr=check)).reason == check
    assert classify(gone(crash_reports=[crash(messages=("abort() called",))])).reason == "abort() called"


def test_a_warning_is_not_the_reason_of_an_abort() -> None:
    noise = "WARNING: no accelerator found"
    told = classify(gone(crash_reports=[crash()], stderr=noise, last_phase="create_engine"))
    assert told.reason == "SIGABRT during create_engine"
    told = classify(gone(crash_reports=[crash()], stderr=f"F1122 12:00:00 x.cc:1] Check failed: size > 0\n{noise}"))
    assert told.reason.endswith("Check failed: size > 0")
    assert classify(gone(crash_reports=[crash(messages=("abort() called",))])).reason == "abort() called"

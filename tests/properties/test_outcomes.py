"""Whatever is known of a trial's end, in any combination: the verdict never says more than the evidence."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.core.outcome import (
    CrashReport,
    EvidenceKind,
    Family,
    HostFailure,
    JetsamVictim,
    Known,
    Outcome,
    RunnerError,
    classify,
)

PID = 4711
WORDS = st.sampled_from(
    ["", "terminating due to uncaught exception of type std::bad_alloc", "Check failed: x", "hello"]
)
SIGNALS = st.sampled_from(["SIGABRT", "SIGSEGV", "SIGBUS", "SIGKILL", None])
PIDS = st.sampled_from([PID, PID + 1])
NAMES = st.sampled_from(["Runner", "MobileMail"])
STAMPS = st.sampled_from([None, "2026-11-22 12:00:05.00 +0000", "rubbish"])
BACKENDS = st.sampled_from([None, "cpu", "gpu", "cpu (gpu emulated)"])
MAYBE = st.sampled_from([None, True, False])

CRASHES = st.builds(
    CrashReport, PIDS, NAMES, SIGNALS, st.just("EXC_CRASH"), st.tuples(WORDS), STAMPS, st.just("Runner.ips")
)
VICTIMS = st.builds(
    JetsamVictim, PIDS, NAMES, st.just("per-process-limit"), st.just(9), st.none(), STAMPS, st.just("Jetsam.ips")
)
FAILURES = st.builds(
    HostFailure,
    st.sampled_from(
        [one for one in Outcome if one.family in (Family.DEVICE, Family.HOST) and one is not Outcome.UNKNOWN]
    ),
    st.just("launch"),
    st.just("it failed"),
)
ERRORS = st.builds(
    RunnerError,
    st.sampled_from(["load_error", "generate_error", "wrong_digest", "memory_error", "new"]),
    st.just("said so"),
    st.sampled_from([None, "create_engine", "decode"]),
)
KNOWN: st.SearchStrategy[Any] = st.builds(
    Known,
    pid=st.sampled_from([None, PID]),
    process_name=st.sampled_from([None, "Runner"]),
    requested_backend=st.sampled_from(["cpu", "gpu"]),
    effective_backend=BACKENDS,
    backend_how=st.just("as the engine says"),
    result_seen=st.booleans(),
    runner_error=st.none() | ERRORS,
    host_failure=st.none() | FAILURES,
    process_running=MAYBE,
    termination=st.sampled_from([None, "exit code 0", "signal 6", "signal 9", "signal 11"]),
    phone_present=MAYBE,
    not_ready=st.sampled_from([None, "not paired"]),
    silent_beyond_limit=st.booleans(),
    last_phase=st.sampled_from([None, "create_engine"]),
    stderr=WORDS,
    crash_reports=st.lists(CRASHES, max_size=2),
    jetsam_victims=st.lists(VICTIMS, max_size=2),
)


@given(KNOWN)
def test_loaded_only_with_a_result(known: Known) -> None:
    if classify(known).outcome.family is Family.MEASURED:
        assert known.result_seen
        assert known.effective_backend is not None


@given(KNOWN)
def test_every_verdict_has_its_proof(known: Known) -> None:
    verdict = classify(known)
    decisive = [item for item in verdict.evidence if item.decisive]
    assert bool(decisive) is (verdict.outcome is not Outcome.UNKNOWN)
    assert not any("not ours" in item.text for item in decisive)
    assert verdict.reason


@given(KNOWN)
def test_a_phone_that_is_away_blames_no_model_without_proof(known: Known) -> None:
    verdict = classify(known)
    if known.phone_present is False and verdict.outcome.family is Family.MODEL:
        proofs = {item.kind for item in verdict.evidence if item.decisive}
        assert proofs <= {
            EvidenceKind.RUNNER_ERROR,
            EvidenceKind.CRASH_REPORT,
            EvidenceKind.JETSAM_EVENT,
            EvidenceKind.TERMINATION,
            EvidenceKind.STDERR,
            EvidenceKind.PROCESS_LIST,
            EvidenceKind.JOURNAL,
        }
        if proofs & {EvidenceKind.PROCESS_LIST, EvidenceKind.JOURNAL}:
            assert known.process_running, "hung: the list was read before the phone left"


@given(KNOWN)
def test_a_process_that_lives_did_not_crash(known: Known) -> None:
    dead = {Outcome.BAD_ALLOC, Outcome.ABORTED, Outcome.CRASHED, Outcome.GPU_FAULT, Outcome.JETSAM}
    if known.process_running:
        assert classify(known).outcome not in dead


@given(KNOWN)
def test_the_same_evidence_gives_the_same_verdict(known: Known) -> None:
    assert classify(known) == classify(known)

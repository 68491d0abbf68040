"""Cables that are pulled and put back at any point, ends that no connection tells of, clocks that jump."""

from __future__ import annotations

import json
import threading
import time

import pytest

from harness.core.outcome import EvidenceKind
from harness.core.record import TrialRecord
from harness.device.pymobiledevice3_ import Pymobiledevice3Transport
from harness.runner.client import LIVENESS_LIMIT_S
from tests.functional.whole_way import Bench, Watcher

NS_PER_S = 1_000_000_000
HOLD_MS = 60_000
WAIT_LIMIT_S = 30.0


def record_of(bench: Bench, fault: str, **options: object) -> TrialRecord:
    return bench.only(settings={"fault": fault, "seed": "7"}, matrix={"caches": ["none"]}, **options)


def run_ns(record: TrialRecord) -> int:
    """How long the harness listened to the runner."""
    return sum(step.duration_ns or 0 for step in record.host_steps if step.name == "run")


@pytest.mark.parametrize("moment", ["launch", "load", "generate", "phase:hold", "unload"])
def test_a_cable_put_back_completes_the_trial(bench: Bench, moment: str) -> None:
    record = record_of(bench, f"unplug:seconds=1@{moment}")
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0
    (cut,) = record.cuts
    assert cut.back_ns is not None
    assert record.host_steps[0].begin_ns < cut.gone_ns < cut.back_ns < record.host_steps[-1].begin_ns
    assert cut.app_gone_ns is not None, "on the app's clock as well"
    assert any("was back after" in item.text for item in record.evidence if item.kind is EvidenceKind.PRESENCE)


def test_a_cut_while_a_report_is_read_loses_no_proof(bench: Bench) -> None:
    record = record_of(bench, "kill-app:signal=6@phase:hold+unplug:seconds=1@report", hold_ms=HOLD_MS)
    assert record.outcome == "aborted", record.reason
    assert len(record.cuts) == 1
    (proof,) = [item for item in record.evidence if item.kind is EvidenceKind.CRASH_REPORT]
    assert proof.decisive
    assert record.seq_missing == 0


def test_a_process_that_ended_while_the_phone_was_away_is_told_by_its_journal(bench: Bench) -> None:
    def pull_and_let_it_end() -> None:
        pid = bench.app_pid()
        bench.ask_phone("unplug")

        def put_back() -> None:
            deadline = time.monotonic() + WAIT_LIMIT_S
            while not _journal_has_result(bench):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            bench.ask_phone("kill", pid=pid)
            bench.ask_phone("plug")

        threading.Thread(target=put_back).start()

    record = bench.only(watcher=Watcher("hold", pull_and_let_it_end))
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0


def _journal_has_result(bench: Bench) -> bool:
    journals = [path for path in bench.home.rglob("Documents/trials/*.ndjson") if not path.name.startswith("process-")]
    lines = [line for path in journals for line in path.read_text().splitlines() if line.endswith("}")]
    return any(json.loads(line)["ev"] == "result" for line in lines)


def test_a_dropped_tunnel_at_the_launch_is_a_launch_again(bench: Bench) -> None:
    record = record_of(bench, "tunnel-drop@launch")
    assert record.outcome == "loaded", record.reason


def test_a_phone_that_does_not_come_back_is_waited_for_once(bench: Bench) -> None:
    record = record_of(bench, "unplug:seconds=inf@phase:hold", hold_ms=HOLD_MS, grace_s=0.5)
    assert record.outcome == "lost", record.reason
    assert [cut.back_ns for cut in record.cuts] == [None]
    assert record.sample_count


def test_an_end_on_a_silent_connection_is_told_by_the_phones_notice(bench: Bench) -> None:
    record = record_of(bench, "app-silent@phase:hold+kill-app@phase:hold", hold_ms=HOLD_MS)
    assert record.outcome == "unknown", record.reason
    (notice,) = [item for item in record.evidence if item.kind is EvidenceKind.TERMINATION]
    assert "signal 9" in notice.text
    assert run_ns(record) < LIVENESS_LIMIT_S * NS_PER_S, "not for want of heartbeats"


def test_without_a_notice_the_process_list_tells(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_notice(transport: Pymobiledevice3Transport, pid: int) -> None:
        return None

    monkeypatch.setattr(Pymobiledevice3Transport, "wait_ended", no_notice)
    record = record_of(bench, "app-silent@phase:hold+kill-app@phase:hold", hold_ms=HOLD_MS)
    assert record.outcome == "unknown", record.reason
    kinds = [item.kind for item in record.evidence]
    assert EvidenceKind.TERMINATION not in kinds
    assert EvidenceKind.PROCESS_LIST in kinds
    assert run_ns(record) < LIVENESS_LIMIT_S * NS_PER_S, "not for want of heartbeats"


@pytest.mark.parametrize("offset", ["3600", "-7200"])
def test_a_clock_that_jumps_loses_no_proof_and_is_told(bench: Bench, offset: str) -> None:
    record = record_of(bench, f"clock-jump:offset={offset}@generate+kill-app:signal=6@phase:hold", hold_ms=HOLD_MS)
    assert record.outcome == "aborted", record.reason
    (proof,) = [item for item in record.evidence if item.kind is EvidenceKind.CRASH_REPORT]
    assert proof.decisive
    assert "the phone's clock jumped" in proof.text
    assert any(item.kind is EvidenceKind.CLOCK for item in record.evidence)
    assert record.phone_clock_offset_ns is not None
    assert record.phone_clock_offset_end_ns is not None
    moved_s = (record.phone_clock_offset_end_ns - record.phone_clock_offset_ns) / NS_PER_S
    assert moved_s == pytest.approx(float(offset), abs=1)


def test_what_the_harness_did_is_in_the_record_on_both_clocks(bench: Bench) -> None:
    record = bench.only(matrix={"caches": ["none"]})
    names = [step.name for step in record.host_steps]
    assert [name for name in names if name in ("ready", "launch", "run", "evidence", "record")] == [
        "ready",
        "launch",
        "run",
        "evidence",
        "record",
    ]
    offset_ns = record.clock_offset_ns
    assert offset_ns is not None
    for step in record.host_steps[:-1]:
        assert step.end_ns is not None
        assert (step.app_begin_ns, step.app_end_ns) == (step.begin_ns + offset_ns, step.end_ns + offset_ns)
    (run,) = [step for step in record.host_steps if step.name == "run"]
    assert run.app_begin_ns is not None
    assert run.app_end_ns is not None
    error_ns = record.clock_round_trip_ns or 0
    assert all(run.app_begin_ns - error_ns <= phase.begin_ns <= run.app_end_ns + error_ns for phase in record.phases)
    assert record.clock_offset_end_ns is not None
    assert record.sample_gap_count == len(record.sample_gaps)

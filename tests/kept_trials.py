"""Records of trials that have ended, made up: for tests of what is done with records and not of how they come about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.core.outcome import Outcome
from harness.core.record import TrialRecord
from harness.core.telemetry import Reading, Source
from harness.store.database import ResultStore

READINGS = (Reading(Source.APP, 10, 1, footprint_bytes=5), Reading(Source.HOST, 15, footprint_bytes=7))


def a_trial(trial_id: str = "20261122-1", **changes: Any) -> TrialRecord:
    """Every column that must have a value has one, and `outcome_family` fits `outcome`; every other is None."""
    outcome = changes.get("outcome", "loaded")
    values: dict[str, Any] = {
        "trial_id": trial_id,
        "run_id": "20261122-run",
        "suite": "made-up",
        "case": "tiny/cpu",
        "ordinal": 1,
        "state": "done",
        "started_at": "2026-11-22T16:06:57.259000+00:00",
        "finished_at": "2026-11-22T16:06:59.259+00:00",
        "host_pid": 1,
        "harness_version": "0.1.0",
        "device_kind": "virtual",
        "device_udid": "00008140-0018303932C99EF3",
        "device_product_type": "iPhone17,1",
        "device_os_version": "18.5",
        "device_os_build": "22F76",
        "device_settings": "",
        "engine": "litert_lm",
        "model_name": "tiny",
        "model_file": "tiny.task",
        "model_sha256": "0" * 64,
        "model_bytes": 1000,
        "backend_requested": "cpu",
        "cache_state": "cold",
        "max_tokens": 128,
        "decode_tokens": 8,
        "sample_hz": 1000,
        "seed": 0,
        "expected_outcome": "loaded",
        "outcome": outcome,
        "outcome_family": None if outcome is None else Outcome(outcome).family.value,
    }
    return TrialRecord(**(values | changes))


def keep(folder: Path, *records: TrialRecord, files: bool = False) -> None:
    """Puts records into a results folder, with telemetry and an artifact each if `files`."""
    with ResultStore.open(folder) as store:
        for record in records:
            keep_one(store, record, files=files)


def keep_one(store: ResultStore, record: TrialRecord, *, files: bool = False) -> TrialRecord:
    """The record as kept."""
    store.begin(record)
    if not files:
        return store.finish(record)
    artifacts = store.artifacts_dir(record.trial_id)
    (artifacts / "reports").mkdir()
    (artifacts / "stderr.txt").write_text(f"of {record.trial_id}")
    (artifacts / "reports" / "crash.ips").write_text("report")
    changes = {**vars(record), "artifacts_dir": artifacts.relative_to(store.folder).as_posix()}
    return store.finish(TrialRecord(**changes), READINGS)

"""An emulated GPU and the phone's warnings, the whole way: suite, virtual phone, runner, engine, record, report."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.suite import Suite
from harness.core.outcome import EvidenceKind
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.report.build import build_report
from harness.store.telemetry import read_parquet

MIB = 1024 * 1024
Run = Callable[..., list[TrialRecord]]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def run(tmp_path: Path, results: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(settings, backend…, **options)`: the records of one trial of the wide model on each backend."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    # the session sets it; this restores what was there
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "")

    def trials(settings: dict[str, str], *backends: str, **options: Any) -> list[TrialRecord]:
        suite = Suite.model_validate(
            {
                "name": "test",
                "models": [{"name": "wide", "synth": "wide"}],
                "matrix": {"backends": list(backends), "caches": ["none"]},
                "options": {"trials": 1, "max_tokens": 128, **options},
            }
        )
        word = Virtual(settings=settings)
        records = asyncio.run(run_suite(suite, word, results, Listener())).records
        return list(records)

    return trials


def app_readings(results: Path, record: TrialRecord) -> pd.DataFrame:
    assert record.telemetry_file is not None
    frame = read_parquet(results / record.telemetry_file)
    return frame[frame["source"] == "app"]


def test_an_emulated_gpu_loads_costs_its_weights_and_is_marked(run: Run, results: Path) -> None:
    cpu, gpu = run({"gpu": "emulated"}, "cpu", "gpu")
    assert (cpu.outcome, cpu.backend_effective) == ("loaded", "cpu")
    assert (gpu.outcome, gpu.backend_effective) == ("loaded", "cpu (gpu emulated)"), gpu.reason
    assert "emulated" in (gpu.reason or "")
    assert "no GPU executed anything" in (gpu.backend_how or "")
    assert any("emulated" in item.text for item in gpu.evidence if item.kind is EvidenceKind.BACKEND and item.decisive)
    assert cpu.output_sha256 == gpu.output_sha256 is not None, "the same engine on the same CPU"

    metal = app_readings(results, gpu)["metal_bytes"]
    assert metal.notna().all()
    assert int(metal.max()) == gpu.model_bytes
    assert int(metal.iloc[-1]) == 0
    assert set(app_readings(results, cpu)["metal_bytes"]) == {0}
    assert cpu.peak_footprint_bytes is not None
    assert gpu.peak_footprint_bytes is not None
    more = gpu.peak_footprint_bytes - cpu.peak_footprint_bytes
    assert more == pytest.approx(gpu.model_bytes, rel=0.1)
    assert gpu.host_peak_footprint_bytes is not None
    assert gpu.host_peak_footprint_bytes > gpu.model_bytes

    page = build_report(results).index.read_text()
    assert f"{gpu.case} (gpu emulated)" in page
    assert f"{cpu.case} (gpu emulated)" not in page


def test_a_limit_between_the_two_ends_the_emulated_gpu(run: Run) -> None:
    cpu, gpu = run({"gpu": "emulated", "footprint_limit": "150MiB"}, "cpu", "gpu")
    assert cpu.outcome == "loaded", cpu.reason
    assert gpu.outcome == "jetsam", gpu.reason


def test_near_the_limit_the_app_is_warned_first(run: Run, results: Path) -> None:
    (record,) = run({"footprint_limit": "130MiB", "thermal": "serious"}, "cpu")
    assert record.outcome == "loaded", record.reason
    assert set(app_readings(results, record)["thermal"]) == {2}
    assert record.artifacts_dir is not None
    journal = (results / record.artifacts_dir / "journal.ndjson").read_text().splitlines()
    notices = [event for event in map(json.loads, journal) if event["ev"] == "notice"]
    assert {event["kind"] for event in notices} == {"memory_warning"}
    warned_ns = notices[0]["t"]
    footprint = app_readings(results, record).set_index("t_ns")["footprint_bytes"]
    # what the phone saw may lie between two samples
    assert int(footprint[footprint.index <= warned_ns].max()) >= 0.98 * 0.8 * 130 * MIB

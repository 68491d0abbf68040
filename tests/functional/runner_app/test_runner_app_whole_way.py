"""Both editions on a virtual phone, from the suite to the verdict: loads, jetsam, bad_alloc, a guarded load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.runner.bundle import BuiltRunner


class Run:
    """Runs one trial of the wide model with this edition, and returns its record."""

    def __init__(self, ipa: BuiltRunner, results: Path) -> None:
        self._ipa = ipa
        self._results = results

    def __call__(self, cache: str, settings: dict[str, str] | None = None, **options: Any) -> TrialRecord:
        suite = Suite.model_validate(
            {
                "name": "editions",
                "models": [{"name": "wide", "synth": "wide"}],
                "matrix": {"caches": [cache]},
                "options": {"trials": 1, "max_tokens": 128, **options},
            }
        )
        word = Virtual(settings=settings or {})
        options_ = RunOptions(runner=(str(self._ipa.path),))
        result = asyncio.run(run_suite(suite, word, self._results, Listener(), options_))
        (record,) = result.records
        return record


@pytest.fixture
def run(ipa: BuiltRunner, tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "")  # the session sets it; this restores what was there
    return Run(ipa, tmp_path / "results")


def test_a_model_loads(run: Run, ipa: BuiltRunner) -> None:
    record = run("none", prewarm="touch", warmup=True)
    assert record.outcome == "loaded", record.reason
    assert record.app_build == ipa.build
    assert {phase.name for phase in record.phases} >= {"prewarm", "warmup", "create_engine", "decode"}
    assert (record.prewarm, record.prewarm_chunk_bytes, record.warmup) == ("touch", 1 << 20, True)
    assert record.seq_missing == 0


def test_a_footprint_limit_kills_it(run: Run) -> None:
    record = run("none", {"footprint_limit": "90MiB"})
    assert record.outcome == "jetsam", record.reason


def test_an_allocation_limit_throws_bad_alloc(run: Run) -> None:
    record = run("cold", {"allocation_limit": "150MB"})
    assert record.outcome == "bad_alloc", record.reason
    assert record.phases[-1].name == "create_engine"


def test_a_guarded_load_stops_before_the_kernel_does(run: Run) -> None:
    record = run("none", {"footprint_limit": "90MiB"}, guard_reserve_bytes=45 << 20)
    assert record.outcome == "load_error", record.reason
    assert "memory guard" in (record.reason or "")
    assert record.guard_reserve_bytes == 45 << 20

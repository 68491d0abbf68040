"""What an app may use follows from what its IPA was signed with: one model, one phone, two builds of one runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.runner.build import build_ipa

MIB = 1024 * 1024
Run = Callable[..., TrialRecord]


@pytest.fixture
def run(tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(cache, settings, extended=…, increased=…)`: the record of one trial of the wide model."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    # the session sets it; this restores what was there
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "")

    def one(cache: str, settings: dict[str, str], *, extended: bool = False, increased: bool = False) -> TrialRecord:
        folder = tmp_path / f"ipa-{extended}-{increased}"
        build_ipa(folder, extended_virtual_addressing=extended, increased_memory_limit=increased)
        (ipa,) = folder.glob("*.ipa")
        suite = Suite.model_validate(
            {
                "name": "test",
                "models": [{"name": "wide", "synth": "wide"}],
                "matrix": {"caches": [cache]},
                "options": {"trials": 1, "max_tokens": 128},
            }
        )
        word = Virtual(settings=settings)
        options = RunOptions(runner=str(ipa))
        (record,) = asyncio.run(run_suite(suite, word, tmp_path / "results", Listener(), options)).records
        return record

    return one


def test_extended_virtual_addressing_makes_room(run: Run) -> None:
    settings = {"allocation_limit": "150MiB", "allocation_limit_extended": "4GiB"}
    without = run("cold", settings)
    assert without.outcome == "bad_alloc", without.reason
    extended = run("cold", settings, extended=True)
    assert extended.outcome == "loaded", extended.reason


def test_increased_memory_limit_raises_the_footprint_limit(run: Run) -> None:
    settings = {"footprint_limit": "90MiB", "footprint_limit_increased": "400MiB"}
    without = run("none", settings)
    assert (without.outcome, without.footprint_limit_bytes) == ("jetsam", 90 * MIB), without.reason
    increased = run("none", settings, increased=True)
    assert (increased.outcome, increased.footprint_limit_bytes) == ("loaded", 400 * MIB), increased.reason

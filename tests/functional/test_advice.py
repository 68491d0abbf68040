"""Fault → advice: what goes wrong on a virtual phone leaves the evidence that a rule needs, and no more than that.

Rules for what a virtual phone cannot do (throttling while it measures, a kill for another app's memory, Metal, a
silent fall-back, a full disk under a weight cache) have their tests in tests/unit/analysis/test_advice_rules.py only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.analysis.advice import Advice, advise
from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.model_files import inspect_model
from harness.bench.models import models_folder
from harness.bench.suite import Suite
from harness.cli.main import app
from harness.core.model_file import ModelFile
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.report.build import build_report
from tests.model_files import small_files

MIB = 1024 * 1024
HOLD_MS = 60_000
Load = Callable[..., list[TrialRecord]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, models_cache: Path) -> Iterator[Path]:
    """Results of all loads of this module in `results`, beside the phone's home."""
    folder = tmp_path_factory.mktemp("advice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CACHE_HOME", str(models_cache))
        patch.setenv("USBMUXD_SOCKET_ADDRESS", "")
        yield folder


@pytest.fixture(scope="module")
def load(folder: Path) -> Load:
    """`load(model, settings, matrix, needs, option=…)`: the records of one trial a case, on a phone with settings."""

    def run(
        model: str | dict[str, Any] = "wide",
        settings: dict[str, str] | None = None,
        matrix: dict[str, Any] | None = None,
        needs: dict[str, Any] | None = None,
        **options: Any,
    ) -> list[TrialRecord]:
        source = {"path": model} if isinstance(model, str) and model.startswith("/") else {"synth": model}
        suite = Suite.model_validate(
            {
                "name": "test",
                "models": [{"name": "model", **source}],
                "matrix": {"caches": ["none"], **(matrix or {})},
                "needs": needs or {},
                "options": {"trials": 1, "max_tokens": 128, **options},
            }
        )
        result = asyncio.run(run_suite(suite, Virtual(settings=settings or {}), folder / "results", Listener()))
        return list(result.records)

    return run


def file_of(record: TrialRecord) -> ModelFile:
    return inspect_model(models_folder() / record.model_file)


def rules(record: TrialRecord, others: Sequence[TrialRecord] = (), model: ModelFile | None = None) -> dict[str, Advice]:
    return {one.rule: one for one in advise(record, others, model)}


def test_weight_cache_and_signatures(load: Load) -> None:
    none, cold, warm = records = load(matrix={"caches": ["none", "cold", "warm"]})
    assert {record.outcome for record in records} == {"loaded"}
    assert "cache-was-built" in rules(cold, records)
    assert "cache-was-built" not in rules(cold, [none]), "no warm load to compare it with"
    assert "copies-for-each-signature" in rules(none, records, file_of(none))
    assert "copies-for-each-signature" not in rules(cold, records, file_of(cold))
    assert rules(warm, records, file_of(warm)) == {}, "nothing is wrong with it"


def test_address_space(load: Load) -> None:
    settings = {"allocation_limit": "150MiB", "allocation_limit_extended": "4GiB"}
    plain, extended = load("wide", settings, {"caches": ["cold"], "variants": ["plain", "extended-addressing"]})
    assert (plain.outcome, extended.outcome) == ("bad_alloc", "loaded"), plain.reason
    rule = "extended-addressing-would-do"
    alone = rules(plain)[rule].evidence
    assert extended.trial_id in rules(plain, [extended])[rule].evidence
    assert extended.trial_id not in alone, "the figures suffice"
    assert plain.allocation_limit_bytes is not None
    assert "would-do" not in str(rules(replace(plain, allocation_limit_bytes=None)))
    assert rule not in rules(replace(plain, app_entitlements=None), [extended])
    assert "foreseen" in rules(plain)
    assert "foreseen" not in rules(replace(plain, preflight=None))


@pytest.mark.thorough
def test_address_space_that_no_entitlement_makes(load: Load) -> None:
    plain, extended = load("wide", {"allocation_limit": "60MiB"}, {"variants": ["plain", "extended-addressing"]})
    assert (plain.outcome, extended.outcome) == ("load_error", "load_error"), plain.reason
    assert "too-large-even-so" in rules(extended)
    assert "too-large-even-so" not in rules(replace(extended, allocation_limit_bytes=None))
    assert "extended-addressing-would-do" in rules(plain)
    assert "extended-addressing-would-do" not in rules(plain, [extended]), "tried without success"
    # of an app that does not look how much it could map, there are only the engine's words
    untried = replace(plain, allocation_limit_bytes=None)
    assert "Cannot allocate memory" in rules(untried)["mapping-failed"].evidence
    assert "mapping-failed" not in rules(replace(untried, app_entitlements=extended.app_entitlements))


@pytest.mark.thorough
def test_a_load_that_succeeds_and_then_fails(load: Load) -> None:
    (record,) = load("wide", {"allocation_limit": "190MiB"})
    assert record.outcome == "generate_error", record.reason
    assert "first_token" in rules(record)["failed-after-the-load"].evidence
    assert "failed-after-the-load" not in rules(replace(record, phases=()))


def test_footprint_limit(load: Load) -> None:
    settings = {"footprint_limit": "90MiB", "footprint_limit_increased": "400MiB"}
    plain, increased = load("wide", settings, {"variants": ["plain", "increased-limit"]})
    assert (plain.outcome, increased.outcome) == ("jetsam", "loaded"), plain.reason
    evidence = rules(plain, [increased])["increased-limit-would-do"].evidence
    assert "90 MiB" in evidence
    assert "400 MiB" in evidence
    assert "increased-limit-would-do" not in rules(plain), "no limit of a phone is known by heart"


@pytest.mark.thorough
def test_footprint_limit_that_the_entitlement_does_not_raise(load: Load) -> None:
    """And, at one sample a second, a peak that nobody has seen but the kernel."""
    plain, increased = load(
        "wide", {"footprint_limit": "90MiB"}, {"variants": ["plain", "increased-limit"]}, sample_hz=1
    )
    assert (plain.outcome, increased.outcome) == ("jetsam", "jetsam"), plain.reason
    assert "increased-limit-has-no-effect" in rules(increased, [plain])
    assert "increased-limit-has-no-effect" not in rules(increased)
    assert "peak-may-be-missed" in rules(plain)
    assert "peak-may-be-missed" not in rules(replace(plain, peak_footprint_bytes=90 * MIB))


def test_the_gpu_holds_weights(load: Load) -> None:
    cpu, gpu = load("wide", {"gpu": "emulated", "footprint_limit": "150MiB"}, {"backends": ["cpu", "gpu"]})
    assert (cpu.outcome, gpu.outcome) == ("loaded", "jetsam"), gpu.reason
    assert "weights-count-on-the-gpu" in rules(gpu, [cpu])
    assert "weights-count-on-the-gpu" not in rules(gpu)


def test_a_warning_before_the_limit(load: Load) -> None:
    (record,) = load("wide", {"footprint_limit": "130MiB"})
    assert record.outcome == "loaded", record.reason
    assert "memory-warning-came" in rules(record)
    unheard = rules(replace(record, notices=()))
    assert "memory-warning-came" not in unheard
    assert "little-head-room" in unheard
    assert "little-head-room" not in rules(record)


def test_no_gpu(load: Load) -> None:
    (record,) = load("tiny", {}, {"backends": ["gpu"]})
    assert record.outcome == "load_error", record.reason
    assert "no-gpu-there" in rules(record)
    assert "no-gpu-there" not in rules(replace(record, reason="another", evidence=()))


def test_a_model_for_another_backend(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "made-for-the-cpu.litertlm"
    file.write_bytes(small_files()["litertlm"])
    (record,) = load(str(file), {"gpu": "emulated"}, {"backends": ["gpu"]})
    assert record.outcome == "load_error", record.reason
    model = inspect_model(file)
    assert "made for CPU" in rules(record, (), model)["made-for-another-backend"].evidence
    assert "made-for-another-backend" not in rules(record), "the file says it, and nothing else"
    assert "made-for-another-backend" not in rules(replace(record, backend_requested="cpu"), (), model)


def test_the_guard(load: Load) -> None:
    (record,) = load("wide", {"footprint_limit": "120MiB"}, guard_reserve_bytes=60 * MIB)
    assert record.outcome == "load_error", record.reason
    assert "guard-stopped-it" in rules(record)
    assert "guard-stopped-it" not in rules(replace(record, guard_reserve_bytes=None))


def test_heat_and_low_power(load: Load) -> None:
    settings = {"thermal": "serious", "low_power": "true"}
    (record,) = load("tiny", settings, needs={"low_power": True})
    assert record.outcome == "loaded", record.reason
    assert {"throttled", "low-power-mode"} <= set(rules(record))
    assert rules(replace(record, thermal_state_start="nominal", low_power=False)) == {}


@pytest.mark.thorough
def test_too_hot_to_begin(load: Load) -> None:
    (record,) = load("tiny", {"battery_celsius": "41.5"}, needs={"max_battery_celsius": 35, "cool_timeout_s": 0})
    assert record.outcome == "not_ready", record.reason
    assert "41.5 °C" in rules(record)["too-hot-to-begin"].evidence
    assert rules(replace(record, reason="another", evidence=())) == {}


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"developer_mode": "false"}, "developer-mode-off"),
        ({"developer_image": "missing"}, "developer-image-missing"),
    ],
    ids=["developer-mode", "developer-image"],
)
def test_not_set_up(load: Load, settings: dict[str, str], rule: str) -> None:
    (record,) = load("tiny", settings)
    assert record.outcome == "not_ready", record.reason
    assert list(rules(record)) == [rule]
    assert rules(replace(record, developer_mode=None, developer_image=None)) == {}


def test_a_full_phone(load: Load) -> None:
    (record,) = load({"base": "wide", "seed": 2}, {"disk_free": "64MiB"})
    assert record.outcome == "push_failed", record.reason
    assert "64 MiB free" in rules(record)["storage-full"].evidence
    assert rules(replace(record, free_bytes=None, reason="another", evidence=())) == {}


def test_a_damaged_file(load: Load, tmp_path: Path) -> None:
    junk = tmp_path / "junk.task"
    junk.write_bytes(b"PK\x03\x04" + bytes(5000))
    (record,) = load(str(junk))
    assert record.outcome == "load_error", record.reason
    assert list(rules(record)) == ["other-format"]
    assert rules(replace(record, reason="another", evidence=())) == {}


@pytest.mark.thorough
def test_a_context_that_nobody_needs(load: Load) -> None:
    (record,) = load({"base": "tiny", "context": 131_072})
    assert record.outcome == "loaded", record.reason
    assert "131072 tokens" in rules(record, (), file_of(record))["context-larger-than-needed"].evidence
    assert "context-larger-than-needed" not in rules(record), "the model's figures are needed"


@pytest.mark.thorough
def test_a_phone_that_restarts(load: Load) -> None:
    (record,) = load("tiny", {"fault": "reboot@phase:hold"}, hold_ms=HOLD_MS)
    assert record.outcome == "lost", record.reason
    assert "phone-lost-by-restart" in rules(record)
    assert rules(replace(record, cuts=())) == {}


def test_people_and_machines_are_told(load: Load, folder: Path) -> None:
    """`harness explain` and the page; generic words only where no rule speaks."""
    (killed,) = load("wide", {"footprint_limit": "90MiB"})
    (lost,) = load("tiny", {"fault": "kill-app@phase:hold"}, hold_ms=HOLD_MS)
    results = folder / "results"

    def explained(trial: str, *more: str) -> str:
        answer = CliRunner().invoke(app, ["explain", trial, "--results", str(results), *more], catch_exceptions=False)
        assert answer.exit_code == 0
        return answer.stdout

    text = explained(killed.trial_id)
    assert "[copies-for-each-signature]" in text, "the model's file is found by itself"
    assert "Compare peak_footprint_bytes" not in text, "generic words, where rules have spoken"
    told = json.loads(explained(killed.trial_id, "--json"))["advice"]
    assert {"rule", "evidence", "remedy", "source"} == set(told[0])
    assert "copies-for-each-signature" in {one["rule"] for one in told}

    assert json.loads(explained(lost.trial_id, "--json"))["advice"] == []
    assert "one end without proof happens" in explained(lost.trial_id)

    page = build_report(results, run_id=killed.run_id).index.read_text(encoding="utf-8")
    assert 'class="advice"' in page
    assert "foreseen before a byte was pushed" in page
    assert 'class="advice"' not in build_report(results, run_id=lost.run_id).index.read_text(encoding="utf-8")

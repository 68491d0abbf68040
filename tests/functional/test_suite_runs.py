"""Limits, warm-ups, budgets and plans the whole way: on a virtual phone, through the command and through pytest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.bench.suite import Suite
from harness.report.build import build_report
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from tests.functional.in_process import harness
from tests.functional.test_faces import run_pytest
from tests.functional.whole_way import Bench, Watcher

SUITE = """
name = "limited"
[[models]]
name = "tiny"
synth = "tiny"
[options]
trials = 1
warmup_trials = 1
max_tokens = 64
decode_tokens = 2
hold_ms = 0
[[limit]]
max_peak_footprint = "1 MiB"
min_decode_tokens_per_s = 0.001
"""


def tiny_suite(**tables: Any) -> Suite:
    tables = {"name": "tiny-suite", "models": [{"name": "tiny", "synth": "tiny"}], **tables}
    tables["options"] = {"max_tokens": 64, "decode_tokens": 1, "hold_ms": 0, **tables.get("options", {})}
    return Suite.model_validate(tables)


@pytest.fixture
def desk(tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the suite above; caches and the phone's home lie apart from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    monkeypatch.delenv("USBMUXD_SOCKET_ADDRESS", raising=False)
    (tmp_path / "limited.toml").write_text(SUITE)
    return tmp_path


def test_plan_run_and_plan_again(desk: Path) -> None:
    before = harness("plan", "limited.toml", "--device", "virtual", "--json", folder=desk)
    assert before.returncode == 0, before.stderr
    told = json.loads(before.stdout)
    # it only looks
    assert not (desk / "results").exists()
    name = "tiny/litert_lm/cpu/cold"
    assert told["trials"] == [f"{name}#0", f"{name}#1"]
    (case,) = told["cases"]
    assert (case["trial_s"], case["known_from"]) == (None, "none")
    assert case["limits"] == ["max_peak_footprint 1 MiB", "min_decode_tokens_per_s 0.001 tokens/s"]
    assert told["push_bytes"] == 176_090

    done = harness("run", "limited.toml", "--device", "virtual", folder=desk)
    check_broken_limit(desk, done)

    after = harness("plan", "limited.toml", "--device", "virtual", folder=desk)
    assert after.returncode == 0, after.stderr
    assert "2 records of it" in after.stdout
    assert "push: nothing: the phone has every model" in after.stdout


def check_broken_limit(desk: Path, done: subprocess.CompletedProcess[str]) -> None:
    """Exit code, table, page and records say the same; the warm-up counts for none of them."""
    assert done.returncode == 1, done.stderr
    assert "over the limits: max_peak_footprint 1 MiB: measured" in done.stderr
    assert "1 of 1 trials broke a limit of the suite" in done.stderr
    assert "over limits: 1 of 1" in done.stdout
    (run_page,) = (desk / "results/report/runs").glob("*/index.html")
    page = run_page.read_text()
    assert "Over the limits: max_peak_footprint 1 MiB: measured" in page
    assert "1 warm-up trial is not counted." in page
    with ResultStore.open(desk / "results") as store:
        warm_up, counted = store.trials()
    assert (warm_up.ordinal, warm_up.outcome, warm_up.broken_limits) == (0, "loaded", None)
    assert counted.ordinal == 1
    assert (counted.broken_limits or "").startswith("max_peak_footprint 1 MiB: measured")
    assert "min_decode" not in (counted.broken_limits or "")
    assert counted.suite_digest == warm_up.suite_digest is not None


def test_under_pytest_a_broken_limit_is_a_failure_and_what_the_budget_refuses_an_error(desk: Path) -> None:
    (desk / "short.toml").write_text(SUITE.partition("[[limit]]")[0] + "[budget]\nmax_s = 0.001\n")
    done = run_pytest("limited.toml", "short.toml", "--device=virtual", "-q", folder=desk)
    assert "1 failed, 2 passed, 1 error" in done.stdout, done.stdout
    assert "over the limits: max_peak_footprint 1 MiB: measured" in done.stdout
    assert "not run: the budget's max_s" in done.stdout


def test_what_the_budget_leaves_over_is_resumed(bench: Bench) -> None:
    budget = {"max_s": 0.001}
    suite = tiny_suite(options={"trials": 2}, budget=budget)
    first = bench.run_suite(suite)
    assert [record.ordinal for record in first.records] == [1]
    (left,) = first.not_run
    assert (left.planned.ordinal, left.reason) == (2, "the budget's max_s = 0.001 (0.001 s) is used up")
    # with more of it the run is the same
    second = bench.run_suite(tiny_suite(options={"trials": 2}), resume=True)
    assert second.run_id == first.run_id
    assert [(record.ordinal, record.attempt) for record in second.records] == [(1, 1), (2, 1)]
    assert second.not_run == ()


def test_a_model_that_the_push_budget_does_not_allow_is_not_pushed(bench: Bench) -> None:
    watcher = Watcher()
    matrix = {"caches": ["none"]}
    result = bench.run_suite(tiny_suite(options={"trials": 1}, matrix=matrix, budget={"max_push": "100 KiB"}), watcher)
    assert result.records == ()
    assert "a push of 171.96 KiB is needed" in result.not_run[0].reason
    assert not [step for step in watcher.steps if step.startswith("push")]


def test_trials_rest_in_between(bench: Bench) -> None:
    watcher = Watcher()
    bench.run_suite(tiny_suite(options={"trials": 2, "pause_s": 0.5}), watcher)
    assert len([step for step in watcher.steps if step.startswith("rest between two trials")]) == 1


def test_a_report_of_warm_ups_alone_says_so(bench: Bench) -> None:
    result = bench.run_suite(tiny_suite(options={"trials": 1, "warmup_trials": 1}, budget={"max_s": 0.001}))
    assert [record.ordinal for record in result.records] == [0]
    with pytest.raises(StoreError, match="no finished trial yet but warm-ups"):
        build_report(bench.results, run_id=result.run_id)


def test_the_schema_needs_no_suite(desk: Path) -> None:
    done = harness("plan", "--schema", folder=desk)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["required"] == ["name", "models"]

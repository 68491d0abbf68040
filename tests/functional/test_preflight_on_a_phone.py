"""Preflight on a virtual phone: predictions that hold, walls that were foretold, and pushes that are not made."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from harness.bench.conductor import RunResult, run_suite
from harness.bench.suite import Suite
from harness.core.phone import Virtual
from tests.functional.whole_way import Bench, Watcher

MIB = 1 << 20
MOST_ERROR = 0.15


def run(bench: Bench, model: str, settings: dict[str, str], watcher: Watcher | None = None, **more: Any) -> RunResult:
    suite = Suite.model_validate({"name": "test", "models": [{"name": model, "synth": model}], **more})
    word, listener = Virtual(settings=settings), watcher or Watcher()
    return asyncio.run(run_suite(suite, word, bench.results, listener))


def test_four_predictions_hold(bench: Bench) -> None:
    records = bench.run("wide", matrix={"caches": ["cold", "warm", "none"]}).records
    records += bench.run("tiny", matrix={"caches": ["cold"]}).records
    for record in records:
        assert record.outcome == "loaded"
        assert record.preflight == "will_load"
        assert record.prediction_error is not None
        assert abs(record.prediction_error) < MOST_ERROR, (record.case, record.preflight_reason)
        assert (record.model_format, record.model_signatures) in (("task", 2), ("task", 3))
        assert record.allocation_limit_bytes is not None
        assert record.allocation_limit_bytes > 1000 * MIB


def test_walls_are_foretold(bench: Bench) -> None:
    footprint = bench.only("wide", settings={"footprint_limit": "90MiB"}, matrix={"caches": ["cold"]})
    assert (footprint.preflight, footprint.outcome) == ("will_not_load", "jetsam"), footprint.preflight_reason
    address = bench.only("wide", settings={"allocation_limit": "150MiB"}, matrix={"caches": ["cold"]})
    assert (address.preflight, address.outcome) == ("will_not_load", "bad_alloc"), address.preflight_reason
    assert address.allocation_limit_bytes is not None
    assert 120 * MIB < address.allocation_limit_bytes < 150 * MIB
    assert address.prediction_error is None


def test_what_will_not_load_is_not_pushed_where_that_is_asked_for(bench: Bench) -> None:
    watcher = Watcher()
    result = run(
        bench,
        "wide",
        {"footprint_limit": "90MiB"},
        watcher,
        matrix={"engines": ["mmap", "litert_lm"], "caches": ["cold", "warm"]},
        options={"trials": 1, "preflight": "stop"},
    )
    (kept,) = result.records
    assert (kept.case, kept.outcome, kept.preflight) == ("wide/mmap/cpu/none", "loaded", "will_load")
    cold, warm = result.not_run
    assert cold.planned.case.cache == "cold"
    assert "it will not load" in cold.reason
    assert "while the weight cache is filled for it" in warm.reason
    assert not cold.by_budget
    # the app was asked once, by a launch of its own that has ended
    starts = [
        json.loads(line)["event"] for line in (bench.home / "log/processes.ndjson").read_text().splitlines()
    ].count("start")
    assert starts == 2


def test_a_case_that_is_expected_not_to_load_is_tried(bench: Bench) -> None:
    result = run(
        bench,
        "wide",
        {"footprint_limit": "90MiB"},
        matrix={"caches": ["cold"]},
        options={"trials": 1, "preflight": "stop"},
        expect=[{"outcome": "jetsam"}],
    )
    assert result.not_run == ()
    assert result.unexpected == ()


def test_preflight_may_be_left_out(bench: Bench) -> None:
    record = bench.only("tiny", preflight="off")
    assert (record.preflight, record.preflight_reason, record.predicted_peak_footprint_bytes) == (None, None, None)
    assert record.model_format == "task"
    assert record.allocation_limit_bytes is not None

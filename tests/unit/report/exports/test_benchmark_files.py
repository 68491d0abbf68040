"""The exports that give other tools one point a case: Bencher, github-action-benchmark, and what `newest` means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.analysis.metrics import METRIC_BY_NAME, Polarity
from harness.core.outcome import EMULATED_GPU
from harness.core.record import TrialRecord
from harness.report.exports.bencher import bencher_json
from harness.report.exports.github_benchmark import FILES, github_benchmark_files
from harness.report.exports.newest import bounded, newest_runs
from tests.kept_trials import a_trial

OLD, NEW = "2026-11-21T01:00:00.000+00:00", "2026-11-22T01:00:00.000+00:00"
FIGURES: dict[str, Any] = {"load_ns": 500_000_001, "peak_footprint_bytes": 2**20, "decode_tokens_per_s": 12.5}
NAME = "virtual/iPhone17,1/made-up/tiny/cpu"


def a_run(run_id: str = "new", started_at: str = NEW, **changes: Any) -> list[TrialRecord]:
    """Three trials, the second twice as slow as the first, the third thrice."""
    return [
        a_trial(
            f"{run_id}-{number}",
            run_id=run_id,
            started_at=started_at,
            ordinal=number,
            **(
                {name: value * number if name == "load_ns" else value for name, value in FIGURES.items()}
                | {"outcome": "loaded"}
                | changes
            ),
        )
        for number in (1, 2, 3)
    ]


def test_only_the_newest_run_counts_and_of_it_what_verdicts_count() -> None:
    aside = [
        a_trial("warm-up", run_id="new", started_at=NEW, ordinal=0, load_ns=1),
        a_trial("arm", run_id="compare", started_at="2026-11-23T01:00:00.000+00:00", arm="a", load_ns=1),
        a_trial("cut", run_id="new", started_at=NEW, ordinal=1, attempt=0, cut_short=True, load_ns=1),
        a_trial("dead", run_id="new", started_at=NEW, ordinal=4, outcome="bad_alloc", load_ns=1),
    ]
    (run,) = newest_runs([*a_run("old", OLD, load_ns=7), *a_run(), *aside])
    assert run.run_id == "new"
    assert run.figures["load_ns"].median == 1_000_000_002
    assert (run.figures["load_ns"].lower, run.figures["load_ns"].upper) == (750_000_001.5, 1_250_000_002.5)
    assert run.outcomes == {"loaded": 3, "bad_alloc": 1}
    assert not run.expected
    assert "ttft_ns" not in run.figures


def test_a_case_that_the_newest_run_has_not_is_left_out() -> None:
    runs = newest_runs([*a_run("old", OLD, case="gone"), *a_run("old", OLD, suite="other"), *a_run()])
    assert [run.name for run in runs] == [NAME, "virtual/iPhone17,1/other/tiny/cpu"]


def test_physical_virtual_and_demo_stay_apart_by_name() -> None:
    records = [
        *a_run("v"),
        *a_run("p", device_kind="physical"),
        *a_run("g", suite="gpu", backend_effective=EMULATED_GPU),
    ]
    names = {run.name: run.marks for run in newest_runs(records)}
    assert names == {
        NAME: ("virtual",),
        "physical/iPhone17,1/made-up/tiny/cpu": (),
        "virtual/iPhone17,1/gpu/tiny/cpu": ("virtual", "gpu emulated"),
    }
    (demo,) = newest_runs(a_run(origin="demo, seed 7"))
    assert (demo.name, demo.marks) == (f"demo/{NAME}", ("demo", "virtual"))


def test_bencher_gets_values_with_quartiles_and_no_case_without_figures() -> None:
    """By the rules of https://bencher.dev/bmf.json (draft 07): two levels of names, then numbers, `value` required."""
    told = json.loads(bencher_json(newest_runs([*a_run(), *a_run("dead", suite="dead", outcome="jetsam")])))
    assert list(told) == [NAME]
    assert told[NAME]["load_ns"] == {
        "value": 1_000_000_002,
        "lower_value": 750_000_001.5,
        "upper_value": 1_250_000_002.5,
    }
    for measures in told.values():
        for measure, values in measures.items():
            assert 0 < len(measure) <= 64
            assert set(values) == {"value", "lower_value", "upper_value"}
            assert all(type(value) in (int, float) for value in values.values())


def test_github_benchmark_has_a_file_for_each_direction() -> None:
    """By the shape that the action's README gives for custom tools, and its own parser (`BenchmarkResult`) wants."""
    files = github_benchmark_files(newest_runs(a_run(build="n7", backend_effective=EMULATED_GPU)))
    assert set(files) == set(FILES.values())
    for polarity, name in FILES.items():
        entries = json.loads(files[name])
        for entry in entries:
            assert {"name", "unit", "value"} <= set(entry) <= {"name", "unit", "value", "range", "extra"}
            column = entry["name"].removeprefix(f"{NAME}:")
            assert METRIC_BY_NAME[column].polarity is polarity
            assert entry["unit"] == METRIC_BY_NAME[column].unit
            assert type(entry["value"]) in (int, float)
            assert "trials: 3 (virtual, gpu emulated)" in entry["extra"]
            assert "build: n7" in entry["extra"]
    load = next(one for one in json.loads(files["smaller-is-better.json"]) if one["name"].endswith(":load_ns"))
    assert (load["value"], load["range"]) == (1_000_000_002, "± 25.0 %")


def test_github_benchmark_leaves_out_a_file_without_entries_and_a_spread_of_one() -> None:
    files = github_benchmark_files(newest_runs([a_trial(load_ns=5)]))
    (text,) = files.values()
    assert set(files) == {FILES[Polarity.LOWER_IS_BETTER]}
    (entry,) = json.loads(text)
    assert (entry["value"], "range" in entry) == (5, False)
    assert github_benchmark_files(newest_runs([a_trial(outcome="jetsam")])) == {}


@pytest.mark.parametrize("name", ["x" * 5000, "a\nb\x1b[31m", 'q"uo\\te', "<script>alert(1)</script>", "\ud800"])
def test_hostile_names_stay_text_of_one_line_and_apart(name: str) -> None:
    told = json.loads(bencher_json(newest_runs([*a_run(case=name), *a_run("other", case=f"{name}!", suite="second")])))
    assert len(told) == 2
    for benchmark in told:
        assert len(benchmark) <= 1024
        assert benchmark.isprintable()


def test_a_long_name_keeps_its_begin_and_differs_by_its_end() -> None:
    assert bounded("short", 40) == "short"
    assert bounded("", 40) == "none"
    assert bounded("\n", 40).startswith("none~")
    long = bounded("x" * 99, 40)
    assert len(long) == 40
    assert long != bounded("x" * 98, 40)

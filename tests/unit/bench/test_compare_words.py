"""What the two words of `harness compare` mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.bench.compare_words import AppSide, RecordedSide, SuiteSide, read_side
from harness.bench.kept_apps import keep_app
from harness.core.errors import UsageError
from harness.runner.build import build_ipa
from harness.store.database import ResultStore
from harness.store.exchange.json_files import write_json
from tests.unit.bench.made_records import made_record

SUITE = 'name = "small"\n[[models]]\nname = "tiny"\nsynth = "tiny"\n'
PLAIN = {"ordinal": 1, "device_kind": "virtual", "backend_requested": "cpu", "cache_state": "none"}
RUNS: list[dict[str, Any]] = [
    {"run_id": "20260101-run", "suite": "smoke", "build": "night-1", "app_build": "aaa111", "app_commit": "c0ffee"},
    {"run_id": "20260102-run", "suite": "smoke", "build": "night-2", "app_build": "bbb222", "app_commit": "c0c0a0"},
    {"run_id": "20260102-two", "suite": "other", "build": "night-2", "app_build": "bbb222", "app_commit": "c0c0a0"},
    {"run_id": "20260103-cmp", "suite": "smoke", "arm": "a", "app_build": "aaa111"},
    {"run_id": "20260103-cmp", "suite": "smoke", "arm": "b", "app_build": "bbb222"},
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    with ResultStore.open(folder) as store:
        for number, run in enumerate(RUNS):
            at = f"2026-01-0{number + 1}T00:00:00+00:00"
            store.finish(store.begin(made_record(trial_id=f"t{number}", started_at=at, **PLAIN, **run)), [])
    return folder


def trials(text: str, results: Path) -> list[str]:
    side = read_side(text, results)
    assert isinstance(side, RecordedSide)
    return list(side.trials["trial_id"])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("run:20260101-run", ["t0"]),
        ("20260101", ["t0"]),
        ("run:20260103/a", ["t3"]),
        ("20260103-cmp/b", ["t4"]),
        ("build:night-1", ["t0"]),
        ("night-2", ["t1", "t2"]),
        # the arms of a comparison are no nights of the build
        ("build:aaa111", ["t0"]),
        ("bbb", ["t1", "t2"]),
        ("build:c0ff", ["t0"]),
    ],
)
def test_runs_and_builds_by_name_or_begin(results: Path, text: str, meant: list[str]) -> None:
    assert trials(text, results) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("20260102", "20260102-run, 20260102-two"),
        ("build:night", "build night-1, build night-2"),
        ("build:c0", "app_commit c0ffee, app_commit c0c0a0"),
        ("run:20260103-cmp", "20260103-cmp/a or 20260103-cmp/b"),
        ("run:20260101-run/b", "it is no comparison"),
        ("run:20260101-run/c", "is 20260101-run/a or"),
        ("run:nothing", "no such run"),
        ("nothing", "no such file, and no run or build"),
        ("build:", "no such build"),
        ("missing.ipa", "cannot be read"),
        ("missing.toml", "cannot be read"),
    ],
)
def test_what_is_unclear_or_not_there_is_said(results: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_side(text, results)


def test_what_is_nothing_is_named_where_there_are_no_results_too(tmp_path: Path) -> None:
    other = tmp_path / "all.parquet"
    other.touch()
    with pytest.raises(UsageError, match=r"all\.parquet: a file of that name cannot be compared; .* or \.csv"):
        read_side(str(other), tmp_path / "none")
    with pytest.raises(UsageError, match=r"'nothing': no such file, and .*none holds no results"):
        read_side("nothing", tmp_path / "none")


def test_a_folder_is_the_newest_run_of_each_of_its_suites(results: Path) -> None:
    assert trials(str(results), results.with_name("elsewhere")) == ["t1", "t2"]
    assert trials(str(results / "runs.db"), results) == ["t1", "t2"]


def test_an_export_is_all_that_is_in_it(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    with ResultStore.open(results) as store, path.open("w") as file:
        write_json(file, store.trials(suite="smoke"))
    assert trials(str(path), tmp_path / "none") == ["t0", "t1", "t3", "t4"]


def test_apps_and_suites_are_what_they_say(tmp_path: Path, results: Path) -> None:
    app = build_ipa(tmp_path)
    (tmp_path / "small.toml").write_text(SUITE)
    side = read_side(str(app.path), results)
    assert isinstance(side, AppSide)
    assert side.app == app
    assert isinstance(read_side(str(tmp_path / "small.toml"), results), SuiteSide)


def test_a_recorded_side_knows_its_app_if_it_is_kept(tmp_path: Path, results: Path) -> None:
    app = build_ipa(tmp_path)
    record = made_record(trial_id="t9", run_id="20260109", ordinal=1, app_build=app.build, started_at="2026-01-09")
    with ResultStore.open(results) as store:
        store.finish(store.begin(record), [])
    side = read_side("20260109", results)
    assert isinstance(side, RecordedSide)
    assert side.kept_app(results) is None
    assert side.kept_app(results) is None
    kept = keep_app(results, app)
    assert side.kept_app(results) == kept

"""A regression of simulated nights, made of real trials, is confirmed or refuted by running its two builds in turns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.bench.conductor import run_suite
from harness.bench.kept_apps import keep_app, kept_apps
from harness.bench.kept_suites import keep_suite
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite, load_suite
from harness.core.judgement import ConfirmationResult
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.runner.build import build_ipa
from harness.runner.bundle import BuiltRunner
from harness.store.database import ResultStore
from harness.store.triage import confirmations
from tests.functional.in_process import harness
from tests.functional.whole_way import Bench

BALLAST_BYTES = 2 << 20
GOOD_NIGHTS, BAD_NIGHTS = 14, 6
SERIES = "virtual/iPhone17,1/nights/tiny/litert_lm/cpu/none:peak_footprint_bytes"
SUITE = """
name = "nights"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["none"]
[options]
trials = 1
max_tokens = 64
decode_tokens = 0
hold_ms = 20
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "nights.toml"
    path.write_text(SUITE)
    return load_suite(path)


def one_trial(bench: Bench, suite: Suite, app: BuiltRunner) -> TrialRecord:
    """Kept elsewhere: the nights below are copies of it."""
    options = RunOptions(runner=(str(app.path),))
    elsewhere = bench.results.with_name("elsewhere")
    (record,) = asyncio.run(run_suite(suite, Virtual(), elsewhere, Listener(), options)).records
    return record


def worse_than(good: TrialRecord, app: BuiltRunner) -> TrialRecord:
    """The trial as one of that build, with a larger peak."""
    assert good.peak_footprint_bytes is not None
    return replace(good, app_build=app.build, peak_footprint_bytes=good.peak_footprint_bytes + BALLAST_BYTES)


def nights(good: TrialRecord, bad: TrialRecord) -> Iterator[TrialRecord]:
    """Simulated: five trials a night, of one good trial's figures and then of one bad one's."""
    begin = datetime.now(UTC).replace(hour=22) - timedelta(days=GOOD_NIGHTS + BAD_NIGHTS + 1)
    for night in range(GOOD_NIGHTS + BAD_NIGHTS):
        one = good if night < GOOD_NIGHTS else bad
        for ordinal in range(1, 6):
            at = begin + timedelta(days=night, minutes=ordinal)
            # a little noise, as a host's page tables make it
            peak = (one.peak_footprint_bytes or 0) + 4096 * ((night + ordinal) % 3)
            yield replace(
                one,
                trial_id=f"{at:%Y%m%d-%H%M%S}-simulated",
                run_id=f"{at:%Y%m%d}-simulated",
                ordinal=ordinal,
                started_at=at.isoformat(),
                finished_at=at.isoformat(),
                peak_footprint_bytes=peak,
                telemetry_file=None,
                artifacts_dir=None,
            )


def fill(bench: Bench, suite: Suite, good: TrialRecord, bad: TrialRecord, *apps: BuiltRunner) -> None:
    with ResultStore.open(bench.results) as store:
        for record in nights(good, bad):
            store.begin(record)
            store.finish(record, [])
    keep_suite(bench.results, suite)
    for app in apps:
        keep_app(bench.results, app)


def notes(bench: Bench) -> list[tuple[ConfirmationResult, str]]:
    with ResultStore.open(bench.results) as store:
        return [(note.result, note.reason) for note in confirmations(store) if note.series == SERIES]


def test_a_real_regression_is_confirmed_and_not_asked_again(bench: Bench, suite: Suite, tmp_path: Path) -> None:
    good, bad = build_ipa(tmp_path / "good"), build_ipa(tmp_path / "bad", ballast_bytes=BALLAST_BYTES)
    record = one_trial(bench, suite, good)
    fill(bench, suite, record, worse_than(record, bad), good, bad)
    done = harness("confirm", "--device", "virtual", "--trials", "5", "--json", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    told = {one["series"]: one for one in json.loads(done.stdout)}
    assert told[SERIES]["result"] == "confirmed", told
    with ResultStore.open(bench.results) as store:
        trials = store.trials(run_id=told[SERIES]["run_id"])
    assert {(trial.arm, trial.app_build) for trial in trials} == {("a", good.build), ("b", bad.build)}

    again = harness("confirm", "--device", "virtual", "--json", folder=tmp_path)
    assert (again.returncode, json.loads(again.stdout)) == (0, [])


def test_a_night_that_was_to_blame_is_refuted(bench: Bench, suite: Suite, tmp_path: Path) -> None:
    good, renamed = build_ipa(tmp_path / "good"), build_ipa(tmp_path / "renamed", commit="b" * 40)
    record = one_trial(bench, suite, good)
    # as if the night had made it worse: the second build takes as much memory as the first
    fill(bench, suite, record, worse_than(record, renamed), good, renamed)
    done = harness("confirm", SERIES, "--device", "virtual", "--trials", "5", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    ((result, reason),) = notes(bench)
    assert result is ConfirmationResult.REFUTED, reason


def test_without_its_build_it_is_not_possible(bench: Bench, suite: Suite, tmp_path: Path) -> None:
    good, bad = build_ipa(tmp_path / "good"), build_ipa(tmp_path / "bad", ballast_bytes=BALLAST_BYTES)
    record = one_trial(bench, suite, good)
    fill(bench, suite, record, worse_than(record, bad), good)
    assert [app.build for app in kept_apps(bench.results)] == [good.build]
    done = harness("confirm", "--device", "virtual", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    ((result, reason),) = notes(bench)
    assert result is ConfirmationResult.NOT_POSSIBLE
    assert bad.build in reason

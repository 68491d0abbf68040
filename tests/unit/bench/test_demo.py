"""The demo: the same seed, the same records; each says what it is; the verdicts are those that were planted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.analysis.series import OUTCOME
from harness.bench.demo.events import FEWEST_NIGHTS, MOST_NIGHTS, planted
from harness.bench.demo.kinds import Plant
from harness.bench.demo.records import DemoRecord, demo_record, trial_id
from harness.bench.demo.store import make_demo
from harness.bench.demo.trials import COMPARED_TRIALS, DemoTrial, History
from harness.bench.demo.world import CASES, CLASSES, DEFAULT_NIGHTS, LAST_NIGHT, NEW, Q8_CPU, SUITE
from harness.cli.results import app
from harness.core.errors import UsageError
from harness.core.judgement import VerdictKind
from harness.core.outcome import Outcome
from harness.core.record import DEMO_ORIGIN
from harness.core.telemetry import Source
from harness.report.site.data import read_site_data
from harness.store.database import ResultStore
from harness.store.exchange.records import plain_to_record, record_to_plain
from harness.store.telemetry import read_parquet

SEED = 7
NIGHTS = FEWEST_NIGHTS


def _trials(seed: int = SEED, nights: int = NIGHTS) -> list[DemoTrial]:
    return list(History(seed, nights, planted(seed, nights)).trials())


def _record(trial: DemoTrial) -> DemoRecord:
    return demo_record(trial, SEED, {trial.run: "run"})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole demo of few nights; nothing but the last night has telemetry, which takes most of the time."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        real = History.trials
        patch.setattr(
            History, "trials", lambda self: (replace(one, kept=one.kept and one.ago == 0) for one in real(self))
        )
        make_demo(folder, SEED, NIGHTS)
    return folder


def test_verdicts_of_the_last_night_are_exactly_those_planted(results: Path) -> None:
    with ResultStore.open_existing(results) as store:
        data = read_site_data(store)
    told = {one.series.text: one.kind for one in data.verdicts if one.kind is not VerdictKind.SAME}
    expected = {series: kind for event in planted(SEED, NIGHTS) for series, kind in event.verdicts.items()}
    assert told == expected
    assert data.tonight == LAST_NIGHT
    assert data.demo


def test_every_record_says_that_it_is_a_demo_of_virtual_phones(results: Path) -> None:
    with ResultStore.open_existing(results) as store:
        kept = store.columns(["origin", "device_kind", "device_udid", "host_name", "suite", "model_name"])
    assert kept["origin"].str.startswith(DEMO_ORIGIN).all()
    assert set(kept["device_kind"]) == {"virtual"}
    assert kept["device_udid"].str.startswith("00000000-DEMO").all()
    assert set(kept["host_name"]) == {DEMO_ORIGIN}
    assert set(kept["suite"]) == {SUITE}
    assert kept["model_name"].str.startswith(DEMO_ORIGIN).all()


def test_same_seed_gives_the_same_records_and_another_seed_others() -> None:
    one, same, other = (_trials(seed)[:40] for seed in (SEED, SEED, SEED + 1))
    assert [_record(trial) for trial in one] == [_record(trial) for trial in same]
    assert [trial.figures for trial in one] != [trial.figures for trial in other]


def test_ids_are_distinct_and_records_may_be_exchanged() -> None:
    trials = _trials()
    assert len({trial_id(one, SEED) for one in trials}) == len(trials)
    for trial in trials[::97]:
        record = _record(trial).record
        assert plain_to_record(record_to_plain(record), "here") == record


def test_there_are_so_many_as_asked_for() -> None:
    trials = [one for one in _trials(nights=DEFAULT_NIGHTS) if one.arm is None]
    cells = {(one.device.product_type, one.case.name) for one in trials}
    assert len(cells) == len(CLASSES) * len(CASES)
    away = sum((event.ago - event.until + 1) * len(CASES) for event in planted(SEED) if event.plant is Plant.AWAY)
    absent = sum(
        event.ago - event.until + 1
        for event in planted(SEED)
        if event.plant is Plant.ABSENT and event.outcome is Outcome.LOADED
    )
    assert len(trials) == (len(cells) * DEFAULT_NIGHTS - away - absent) * 5


def test_figures_are_those_of_the_readings(results: Path) -> None:
    with ResultStore.open_existing(results) as store:
        kept = [one for one in store.trials(since=str(LAST_NIGHT)) if one.telemetry_file is not None]
        assert len({one.outcome for one in kept}) > 3
        for record in kept[::7]:
            readings = read_parquet(store.telemetry_path(record.trial_id))
            app = readings[readings["source"] == Source.APP.value]
            assert app["footprint_bytes"].max() == record.peak_footprint_bytes
            assert app["resident_bytes"].max() == record.peak_resident_bytes
            assert len(app) == record.sample_count
            if record.outcome == Outcome.LOADED.value:
                assert app["footprint_bytes"].iloc[-1] == record.leftover_footprint_bytes
            files = {path.name for path in store.artifacts_dir(record.trial_id).iterdir()}
            assert {one.file for one in record.evidence} - {None} <= files


def test_a_step_is_a_step_and_what_died_has_no_figure() -> None:
    event = next(one for one in planted(SEED) if one.name == "slow-load")
    of_case = [one for one in _trials() if one.device is NEW and one.case is Q8_CPU and one.arm is None]
    before = [one.figures["load_ns"] for one in of_case if one.ago == event.ago + 1]
    since = [one.figures["load_ns"] for one in of_case if one.ago == event.ago]
    assert min(since) > max(before)
    dead = next(one for one in _trials() if one.outcome is Outcome.BAD_ALLOC)
    record = _record(dead).record
    assert (record.load_ns, record.ttft_ns, record.leftover_footprint_bytes) == (None, None, None)
    assert record.peak_footprint_bytes is not None


def test_command_lists_what_is_planted_and_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = History.trials
    # few of them: the list is not made of the trials
    monkeypatch.setattr(History, "trials", lambda self: (one for one in real(self) if one.arm is not None))
    words = ["demo", str(tmp_path / "demo"), "--seed", str(SEED), "--nights", str(NIGHTS), "--json"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    events = planted(SEED, NIGHTS)
    assert [one["name"] for one in told["planted"]] == [event.name for event in events]
    assert [one["verdicts"] for one in told["planted"]] == [event.verdicts for event in events]
    assert told["trials"] == sum(event.confirmation is not None for event in events) * 2 * COMPARED_TRIALS


def test_results_that_are_there_are_left_alone(results: Path) -> None:
    with pytest.raises(UsageError, match="holds results"):
        make_demo(results, SEED, NIGHTS)


@pytest.mark.parametrize(("seed", "nights"), [(-1, NIGHTS), (1, FEWEST_NIGHTS - 1), (1, MOST_NIGHTS + 1)])
def test_what_cannot_be_made_is_refused(seed: int, nights: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make_demo(tmp_path / "new", seed, nights)
    assert not (tmp_path / "new").exists()


def test_every_kind_is_planted_and_names_are_distinct() -> None:
    events = planted(SEED)
    assert {one.plant for one in events} == set(Plant)
    assert len({one.name for one in events}) == len(events)
    assert any(OUTCOME in one.tonight for one in events)

"""Fills an empty folder with the demo's records, readings, files and remarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from harness.bench.demo.events import PlantedEvent, planted
from harness.bench.demo.records import DemoRecord, demo_record, trial_id
from harness.bench.demo.trials import COMPARED_TRIALS, DemoTrial, History, rerun_name
from harness.bench.demo.world import DEFAULT_NIGHTS
from harness.core.errors import UsageError
from harness.core.judgement import ConfirmationResult, TriageState
from harness.core.record import DEMO_ORIGIN
from harness.core.text import percent
from harness.store.address import DATABASE_NAME, ResultsAddress
from harness.store.database import ResultStore
from harness.store.exchange.incoming import insert
from harness.store.telemetry import write_parquet
from harness.store.triage import keep_confirmation, keep_triage

_SAID_AT = time(9, 30)
_AUTHOR = DEMO_ORIGIN
_REASONS = {
    TriageState.ACKNOWLEDGED: "demo: the runtime team looks into it",
    TriageState.WONT_FIX: "demo: the new cache is worth it",
}


@dataclass(frozen=True)
class Demo:
    """What was made."""

    folder: Path
    seed: int
    nights: int
    trials: int
    with_telemetry: int
    events: tuple[PlantedEvent, ...]


def make_demo(folder: Path, seed: int, nights: int = DEFAULT_NIGHTS) -> Demo:
    """Makes results by seed in `folder`; the same seed and nights, the same records.

    Raises UsageError where there are results already, or for a number of nights that cannot be.
    """
    events = planted(seed, nights)
    if (folder / DATABASE_NAME).exists():
        raise UsageError(f"{folder} holds results; a demo is not put among them: name a new folder")
    trials = list(History(seed, nights, events).trials())
    with ResultStore.open(ResultsAddress(folder)) as store:
        run_ids = fill(store, trials, seed)
        for event in events:
            _keep_remarks(store, event, run_ids)
    return Demo(folder, seed, nights, len(trials), sum(one.kept for one in trials), events)


def fill(store: ResultStore, trials: Iterable[DemoTrial], seed: int) -> dict[str, str]:
    """Adds the records of these trials with their readings and files; returns the runs' names with their ids."""
    ordered = sorted(trials, key=lambda one: trial_id(one, seed))
    run_ids = _run_ids(ordered, seed)
    records = _with_files(store, (demo_record(trial, seed, run_ids) for trial in ordered))
    with store.writing() as connection:
        insert(connection, (one.record for one in records))
    return run_ids


def _run_ids(trials: Iterable[DemoTrial], seed: int) -> dict[str, str]:
    """Run → id, made of its first trial's."""
    found: dict[str, str] = {}
    for trial in trials:
        found.setdefault(trial.run, f"{trial_id(trial, seed)[:-8]}{seed % 2**32:08x}")
    return found


def _with_files(store: ResultStore, records: Iterable[DemoRecord]) -> Iterator[DemoRecord]:
    """Each after its telemetry and files are there."""
    for one in records:
        if one.readings:
            write_parquet(store.telemetry_path(one.record.trial_id), one.readings)
        if one.files:
            folder = store.artifacts_dir(one.record.trial_id)
            for name, text in one.files.items():
                (folder / name).write_text(text, encoding="utf-8")
        yield one


def _keep_remarks(store: ResultStore, event: PlantedEvent, run_ids: dict[str, str]) -> None:
    """What a person and a re-run have said of it on the morning after its first night."""
    at = datetime.combine(event.first + timedelta(days=2), _SAID_AT, UTC)
    key = event.case_key
    metrics = [*event.factors] if event.factors else ["outcome"]
    for metric in metrics if key is not None else ():
        assert key is not None, "said above"
        series = key.series(metric).text
        if event.triage is not None:
            keep_triage(store, series, event.first, event.triage, _REASONS[event.triage], _AUTHOR, at=at)
        if event.confirmation is not None:
            shift = event.factors[metric] - 1 if event.confirmation is ConfirmationResult.CONFIRMED else 0.001
            reason = (
                f"demo: {percent(shift, sign=True)} between the builds, {COMPARED_TRIALS} and {COMPARED_TRIALS} trials"
            )
            run_id = run_ids[rerun_name(event)]
            keep_confirmation(store, series, event.first, event.confirmation, reason, run_id, at=at)

"""What is under way, from results of the test's own: streams cut anywhere, notes, locks, and names that mean harm."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.bench.listener import Listener
from harness.bench.resume import new_run
from harness.bench.run_note import NotedListener, RunNote, note_path, read_note
from harness.bench.trial import new_id
from harness.cli.run_display import describe
from harness.cli.watch_view import MAX_LINE_CHARS, line
from harness.core.outcome import EMULATED_GPU
from harness.core.record import TrialRecord
from harness.core.telemetry import Reading, Source
from harness.report.end_words import end_text
from harness.report.live import ProgressReader, RunState, progress
from harness.report.live_changes import ChangeKind, changes
from harness.report.live_memory import MAX_POINTS, SpoolTail
from harness.report.live_page import live_page
from harness.store.database import ResultStore
from harness.store.telemetry import TelemetrySpool
from tests.store_records import a_record

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e\n" + "x" * 10_000


def a_trial(trial_id: str, run_id: str, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "run_id": run_id, "suite": "smoke", "case": "tiny/litert_lm/cpu/cold", "ordinal": 1, "cut_short": False,
        "started_at": "2026-11-22T03:00:00+00:00", "device_kind": "virtual", "expected_outcome": "loaded",
    }  # fmt: skip  # columns of one trial
    return a_record(trial_id, **values | changes)


def test_a_stream_is_read_as_it_grows_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = tmp_path / "whole.arrows"
    with TelemetrySpool(whole) as spool:
        for number in range(3):
            spool.append([Reading(Source.APP, number + 1, footprint_bytes=10 - number, available_bytes=90 + number)])
    data, growing = whole.read_bytes(), tmp_path / "growing.arrows"
    tail, seen = SpoolTail(growing), []
    assert tail.read() is None
    for size in range(0, len(data) + 1, 97):
        growing.write_bytes(data[:size])
        seen.append(tail.read())
    growing.write_bytes(data)
    last = tail.read()
    assert last is not None
    assert (last.samples, last.footprint_bytes, last.peak_footprint_bytes, last.limit_bytes) == (3, 8, 10, 100)
    assert [one.samples for one in dict.fromkeys(seen) if one is not None][:2] == [1, 2], "each batch when it is whole"


def test_a_long_history_is_thinned_and_keeps_its_peak(tmp_path: Path) -> None:
    path = tmp_path / "long.arrows"
    with TelemetrySpool(path) as spool:
        spool.append([Reading(Source.APP, n, footprint_bytes=999 if n == 1_234 else 5) for n in range(5_000)])
    memory = SpoolTail(path).read()
    assert memory is not None
    assert len(memory.points) <= MAX_POINTS
    assert max(footprint for _, footprint in memory.points) == 999
    assert memory.limit_bytes is None, "what the app was not told is not known, and not 0"


def test_a_run_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        reader = ProgressReader(store)
        with new_run(store) as run:
            store.begin(a_trial(new_id(datetime.now(UTC)), run.run_id))
            keeper = NotedListener(tmp_path, run.run_id, Listener())
            keeper.phase("create_engine")
            keeper.step("push the model", 2, 5)
            before = reader.read()
            (living,) = before.runs
            assert (living.state, living.step, living.step_share) == (RunState.RUNNING, "push the model", 0.4)
            assert living.total is None, "no suite was kept"
            assert living.now[0].phase is None, "the note is of no trial that has begun"
            keeper.close()
            assert read_note(tmp_path, run.run_id) is None
        (gone,) = progress(store).runs
        assert gone.state is RunState.GONE
        told = [change.kind for change in changes(before, progress(store))]
        assert told == [ChangeKind.RUN_STATE]


def test_a_note_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    path = note_path(tmp_path, "a-run")
    assert path is not None
    path.parent.mkdir()
    for text in ("", "[]", '{"number": "1"}', '{"step_share": 7}', '{"phase": "' + "x" * 9_000 + '"}'):
        path.write_text(text)
        assert read_note(tmp_path, "a-run") is None
    path.write_text('{"phase": "map", "of_a_newer_harness": 1}')
    assert read_note(tmp_path, "a-run") == RunNote(phase="map")
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert read_note(tmp_path, "a-run") is None
    assert note_path(tmp_path, "../a-run") is None


def test_hostile_names_are_text_on_the_page_and_quiet_in_the_terminal(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store, new_run(store) as run:
        record = a_trial(new_id(datetime.now(UTC)), run.run_id, case=HOSTILE, suite=HOSTILE)
        store.begin(record)
        store.finish(a_trial(record.trial_id, run.run_id, outcome=HOSTILE, reason=HOSTILE, case=HOSTILE))
        store.begin(a_trial(new_id(datetime.now(UTC)), run.run_id, case=HOSTILE, suite=HOSTILE))
        now = progress(store)
    page = live_page(now)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "x" * 3_000 not in page
    for change in changes(None, now):
        told = line(change.text)
        assert told.isprintable()
        assert len(told) <= MAX_LINE_CHARS


def test_what_was_made_by_seed_is_told_as_demo(tmp_path: Path) -> None:
    run_id = new_id(datetime.now(UTC))
    with ResultStore.open(tmp_path) as store:
        store.begin(a_trial(new_id(datetime.now(UTC)), run_id, device_settings="", origin="demo, seed 7"))
        told = progress(store)
    assert "(demo; virtual)" in next(changes(None, told)).text
    assert "Demo: simulated figures" in live_page(told)


def test_a_run_and_who_watches_it_say_the_same_of_an_end() -> None:
    end: dict[str, Any] = {"outcome": "jetsam", "reason": "killed", "load_ns": 10_400_000, "cut_short": True}
    record = a_trial("a", "r", **end, peak_footprint_bytes=2048)
    told = "load 10 ms, peak 2 KiB, expected loaded, cut short, does not count, killed"
    assert end_text(record) == f"jetsam: {told}"
    assert describe(dataclasses.replace(record, backend_effective=EMULATED_GPU)) == f"jetsam: gpu emulated, {told}"

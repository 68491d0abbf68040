"""The app's event log and journal: order, batches, replay, and a disk that refuses."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.runner.app.events import MAX_TEXT_BYTES, SAMPLE_BATCH_NS, EventLog, bounded
from harness.runner.app.journal import INDEX_EVERY, OVERLAY_BYTES, STALE_JOURNALS_KEPT, Journal
from harness.runner.app.lines import MAX_LINE_BYTES

MS = 1_000_000


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(Journal(tmp_path / "trials"))


def on_disk(log: EventLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.journal.path.read_bytes().splitlines()]


def sent_from(log: EventLog, seq: int) -> list[int]:
    """The numbers that a connection would send after ``resume``."""
    offset, numbers = log.offset_of(seq), []
    while data := log.journal.read(offset):
        assert data.endswith(b"\n")
        numbers += [json.loads(line)["seq"] for line in data.splitlines()]
        offset += len(data)
    return numbers


def test_events_are_on_disk_when_emit_returns(log: EventLog) -> None:
    log.emit("phase", name="map")
    (event,) = on_disk(log)
    assert event.pop("t") > 0
    assert event == {"v": 1, "seq": 1, "ev": "phase", "name": "map"}


@pytest.mark.parametrize("hz", [1, 100, 333, 1000])
def test_samples_wait_at_most_the_batch_time(log: EventLog, hz: int) -> None:
    period = 1_000_000_000 // hz
    for number in range(100):
        now = number * period
        log.sample(now, [number, None], period)
        oldest_waiting = now if len(on_disk(log)) == number + 1 else (len(on_disk(log))) * period
        # The next chance to write is a period away: by then nothing may have waited longer.
        assert now == oldest_waiting or now + period - oldest_waiting <= SAMPLE_BATCH_NS


def test_a_batch_is_one_write(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []

    def count(fd: int, data: bytes) -> int:
        writes.append(data)
        return len(data)

    monkeypatch.setattr("harness.runner.app.journal.os.write", count)
    for number in range(100):
        log.sample(number * MS, [1], MS)
    assert 10 < len(writes) < 30
    assert b"".join(writes).count(b"\n") > 90


def test_an_event_brings_waiting_samples_with_it_in_order(log: EventLog) -> None:
    log.sample(0, [1], MS)
    assert on_disk(log) == []
    log.emit("phase", name="x")
    assert [event["ev"] for event in on_disk(log)] == ["sample", "phase"]


def test_resume_finds_every_event(log: EventLog) -> None:
    last = INDEX_EVERY * 2 + 10
    for number in range(last):
        log.sample(number * MS, [number] * (number % 7), MS)
    for seq in (1, 2, INDEX_EVERY, INDEX_EVERY + 1, INDEX_EVERY + 2, last):
        assert sent_from(log, seq) == list(range(seq, last + 1))
    assert sent_from(log, last + 1) == []
    with pytest.raises(ValueError, match=f"event {last + 2} has not happened"):
        log.offset_of(last + 2)


def test_a_trial_gives_the_journal_its_name_once(log: EventLog, tmp_path: Path) -> None:
    log.emit("hello")
    log.begin_trial("t1", "heartbeat")
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["t1.ndjson"]
    assert [event["seq"] for event in on_disk(log)] == [1, 2]
    other = EventLog(Journal(tmp_path / "trials"))
    with pytest.raises(FileExistsError):
        other.begin_trial("t1", "heartbeat")


def test_old_journals_without_a_trial_are_cleared_away(tmp_path: Path) -> None:
    for number in range(STALE_JOURNALS_KEPT + 5):
        path = tmp_path / f"process-{number}.ndjson"
        path.touch()
        os.utime(path, (number, number))
    (tmp_path / "t1.ndjson").touch()
    Journal(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "t1.ndjson" in names
    assert "process-4.ndjson" not in names
    assert "process-5.ndjson" in names


def test_a_full_disk_is_told_not_hidden(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.emit("hello")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harness.runner.app.journal.os.write", full)
    log.sample(0, [1], 1000 * MS)
    log.sample(MS, [2], 1000 * MS)
    assert log.journal.broken is not None
    log.emit("error", kind="journal_error")
    assert sent_from(log, 1) == [1, 2, 3]
    log.emit("log", line="x" * OVERLAY_BYTES)
    assert log.journal.end < OVERLAY_BYTES


def test_text_from_elsewhere_always_fits_a_line(log: EventLog) -> None:
    log.emit("error", kind="load_error", message=bounded("\x01ü" * MAX_TEXT_BYTES), phase=None, trial="t" * 100)
    assert len(log.journal.path.read_bytes()) < MAX_LINE_BYTES
    assert bounded("short") == "short"


def test_lone_surrogates_do_not_break_the_stream(log: EventLog) -> None:
    log.emit("log", line="\ud800")
    assert on_disk(log)[0]["line"] == "?"

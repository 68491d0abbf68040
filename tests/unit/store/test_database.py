"""The results store through its public face, with real files and real processes."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from sqlalchemy import update

from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord, record_columns
from harness.core.telemetry import Cut, HostStep, Phase, Reading, SampleGap, Source
from harness.store.address import DATABASE_NAME
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.salvage import salvage
from harness.store.schema import RECORD_TYPES, claims
from harness.store.telemetry import SPOOL_SCHEMA, read_parquet

PROCESS_LIMIT_S = 120
ROUNDS = 60

READINGS = [
    Reading(Source.APP, 20, 2, footprint_bytes=0, resident_bytes=2**40),
    Reading(Source.APP, 10, 1, footprint_bytes=5),
    Reading(Source.HOST, 15, None, footprint_bytes=7),
]

_SAMPLES: dict[type, Any] = {str: "text", bool: False, int: 2**40, float: 1.5, dict: {"key": True}, tuple: ()}


def a_record(trial_id: str = "20261122-a1", **changes: Any) -> TrialRecord:
    """Test data: every column that must have a value has one, every other is None."""
    values = {name: None if optional else _SAMPLES[plain] for name, (plain, optional) in RECORD_TYPES.items()}
    return TrialRecord(**{**values, "trial_id": trial_id, "state": "running", **changes})


# What the child processes of these tests start with: the same a_record, in a process of its own.
CHILD_HEAD = f"""
import os, sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path
from test_database import a_record, READINGS
from harness.store.database import ResultStore
from harness.store.salvage import salvage
folder = Path(sys.argv[1])
"""


def child(folder: Path, body: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD_HEAD + textwrap.dedent(body), str(folder), *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PROCESS_LIMIT_S)


@pytest.mark.parametrize("filled", [True, False], ids=["every column filled", "every optional column None"])
def test_a_record_comes_back_as_it_was(tmp_path: Path, filled: bool) -> None:
    samples = {name: _SAMPLES[plain] for name, (plain, _) in RECORD_TYPES.items()} if filled else {}
    changes: dict[str, Any] = {
        **samples,
        "trial_id": "t-1",
        "evidence": (Evidence(EvidenceKind.STDERR, "«text»", None, True),),
        "phases": (Phase("map", 0, 2**50), Phase("decode", 1)),
        "host_steps": (HostStep("launch", 1, 2, 11, 12), HostStep("run", 3)),
        "cuts": (Cut(5, None, 15), Cut(6, 7)),
        "sample_gaps": (SampleGap(2**50, 1),),
    }
    record = a_record(**changes)
    with ResultStore.open(tmp_path) as store:
        store.begin(record)
        done = store.finish(dataclasses.replace(record, load_ns=0, peak_footprint_bytes=None))
        assert store.trials() == [done]
    assert (done.state, done.load_ns, done.peak_footprint_bytes, done.telemetry_file) == ("done", 0, None, None)
    with ResultStore.open(tmp_path / DATABASE_NAME) as store:
        assert store.trials() == [done]


def test_a_frame_keeps_missing_missing(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for trial_id, load_ns in (("t-1", 0), ("t-2", None), ("t-3", 2**60 + 1)):
            store.begin(a_record(trial_id, load_ns=load_ns))
        frame = store.frame()
        assert list(frame.columns) == [column.name for column in record_columns()]
        assert frame["load_ns"].tolist() == [0, pd.NA, 2**60 + 1]
        assert frame["decode_tokens_per_s"].isna().all()
        assert str(store.frame(trial_id=[])["load_ns"].dtype) == "Int64"


def test_filters(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        store.begin(a_record("t-2", case="b"))
        store.begin(a_record("t-1", case="a", outcome="loaded"))
        assert [record.trial_id for record in store.trials()] == ["t-1", "t-2"]
        assert [record.trial_id for record in store.trials(case="b")] == ["t-2"]
        assert len(store.trials(app_entitlements=None)) == 2
        assert [record.trial_id for record in store.trials(case=["a", "b"], outcome=None)] == ["t-2"]
        with pytest.raises(StoreError, match="no column 'colour'"):
            store.trials(colour="red")


def test_finish_puts_all_readings_into_parquet_and_removes_the_spool(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        store.begin(a_record("t-1"))
        with store.spool("t-1") as spool:
            spool.append(READINGS[:1])
        done = store.finish(a_record("t-1"), READINGS)
        assert done.telemetry_file == "telemetry/t-1.parquet"
        assert read_parquet(tmp_path / done.telemetry_file)["t_ns"].tolist() == [10, 15, 20]

        store.begin(a_record("t-2"))
        with store.spool("t-2") as spool:
            spool.append(READINGS[:1])
        from_spool = store.finish(a_record("t-2"))
        assert len(read_parquet(tmp_path / str(from_spool.telemetry_file))) == 1
    assert sorted(path.name for path in (tmp_path / "telemetry").iterdir()) == ["t-1.parquet", "t-2.parquet"]


@pytest.mark.parametrize("trial_id", ["../up", "a/b", "", "a.b", "a\n", "a" * 129, "é"])
def test_ids_that_are_no_plain_names_are_refused(tmp_path: Path, trial_id: str) -> None:
    with ResultStore.open(tmp_path) as store:
        for method in (store.artifacts_dir, store.spool, store.telemetry_path):
            with pytest.raises(StoreError, match="trial id"):
                method(trial_id)
        with pytest.raises(StoreError, match="trial id"):
            store.begin(a_record(trial_id))


def test_begin_and_finish_once(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        with pytest.raises(StoreError, match="not running"):
            store.finish(a_record("t-1"))
        store.begin(a_record("t-1"))
        with pytest.raises(StoreError, match="begun before"):
            store.begin(a_record("t-1"))
        store.finish(a_record("t-1"))
        with pytest.raises(StoreError, match="not running"):
            store.finish(a_record("t-1"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("decode_tokens_per_s", math.nan), ("decode_tokens_per_s", math.inf), ("load_ns", 2**63)],
)
def test_numbers_that_would_change_silently_are_refused(tmp_path: Path, column: str, value: Any) -> None:
    with ResultStore.open(tmp_path) as store:
        with pytest.raises(StoreError, match=column):
            store.begin(a_record("t-1", **{column: value}))
        assert store.trials() == []


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    ResultStore.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"runs\.db: has schema version 999.*use the harness that wrote it"):
        ResultStore.open(tmp_path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    ResultStore.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    connection.execute("ALTER TABLE trials DROP COLUMN ttft_ns")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"columns differ.*ttft_ns"):
        ResultStore.open(tmp_path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"this is not a database, and long enough to tell" * 100)
    with pytest.raises(StoreError, match=r"runs\.db"):
        ResultStore.open(tmp_path)
    with pytest.raises(StoreError, match="results folder"):
        ResultStore.open(tmp_path / DATABASE_NAME / "below-a-file")


def test_after_kill_9_every_acknowledged_batch_is_salvaged(tmp_path: Path) -> None:
    acknowledged = 50
    process = child(
        tmp_path,
        """
        from harness.core.telemetry import Reading, Source
        store = ResultStore.open(folder)
        store.begin(a_record("t-killed", host_pid=os.getpid()))
        (folder / "telemetry/t-killed.parquet.part").write_bytes(b"half")
        spool = store.spool("t-killed")
        for number in range(10**6):
            times = range(10 * number, 10 * number + 10)
            spool.append([Reading(Source.APP, t_ns, t_ns + 1, footprint_bytes=0) for t_ns in times])
            print(number, flush=True)
        """,
    )
    assert lines_of(process, acknowledged)[-1] == str(acknowledged - 1)
    with ResultStore.open(tmp_path) as store:
        assert salvage(store) == []  # it lives
        assert (tmp_path / "telemetry/t-killed.parquet.part").exists()
        kill(process)
        [record] = salvage(store)
        assert salvage(store) == []
        assert store.trials() == [record]
    assert record.outcome == "harness_error"
    assert record.state == "done"
    assert record.finished_at is not None
    assert record.sample_count is not None
    assert record.reason == (
        f"the harness process {process.pid} was gone before the trial ended; recovered {record.sample_count} samples"
    )
    frame = read_parquet(tmp_path / str(record.telemetry_file))
    assert len(frame) == record.sample_count >= acknowledged * 10
    assert frame["t_ns"].tolist() == list(range(len(frame)))
    assert record.last_sample_ns == len(frame) - 1
    assert [path.name for path in (tmp_path / "telemetry").iterdir()] == ["t-killed.parquet"]


def test_a_reused_process_id_does_not_pass_for_the_dead_process(tmp_path: Path) -> None:
    process = child(
        tmp_path,
        f"ResultStore.open(folder).begin(a_record('t-1', host_pid={os.getppid()}))\nprint(1, flush=True)\ninput()",
    )
    lines_of(process, 1)
    kill(process)
    with ResultStore.open(tmp_path) as store:
        [record] = salvage(store)
    # the row names a process that lives, and yet its owner is gone
    assert record.reason is not None
    assert record.reason.endswith("recovered 0 samples")
    assert (record.sample_count, record.last_sample_ns, record.telemetry_file) == (0, None, None)


def test_a_trial_of_this_process_is_salvaged_only_after_its_store_is_closed(tmp_path: Path) -> None:
    first = ResultStore.open(tmp_path)
    first.begin(a_record("t-1", host_pid=os.getpid()))
    with ResultStore.open(tmp_path) as second:
        assert salvage(second) == []
        first.close()
        [record] = salvage(second)
    assert "let go of the results" in str(record.reason)


def test_a_trial_that_another_process_has_just_salvaged_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ResultStore.open(tmp_path) as store:
        store.begin(a_record("t-1"))
        seen = store.claimed()
    with ResultStore.open(tmp_path) as first, ResultStore.open(tmp_path) as second:
        assert len(salvage(first)) == 1
        # the second looked before the first was done
        monkeypatch.setattr(second, "claimed", lambda: seen)
        assert salvage(second) == []


def test_a_broken_spool_does_not_stop_the_salvage(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        store.begin(a_record("t-1"))
        store.spool_path("t-1").write_bytes(b"\xff" * 4096)
    with ResultStore.open(tmp_path) as store:
        [record] = salvage(store)
    assert "its telemetry is lost" in str(record.reason)
    assert [path.name for path in (tmp_path / "telemetry").iterdir()] == ["t-1.arrows.broken"]


def test_four_processes_salvage_each_trial_once(tmp_path: Path) -> None:
    count = 8
    with ResultStore.open(tmp_path) as store:
        for number in range(count):
            store.begin(a_record(f"t-{number}"))
    processes = [
        child(tmp_path, "store = ResultStore.open(folder)\nprint(0, flush=True)\ninput()\nprint(len(salvage(store)))")
        for _ in range(4)
    ]
    for process in processes:
        lines_of(process, 1)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=PROCESS_LIMIT_S)[0]) for process in processes) == count
    assert [process.returncode for process in processes] == [0] * 4


@pytest.mark.thorough
def test_four_processes_create_stores_at_once(tmp_path: Path) -> None:
    # without the lock of `open`, one round in ten to twenty ends with "database is locked"
    body = """
        print(0, flush=True)
        for number in sys.stdin:
            ResultStore.open(folder / number.strip()).close()
            print(number.strip(), flush=True)
    """
    processes = [child(tmp_path, body) for _ in range(4)]
    assert [lines_of(process, 1) for process in processes] == [["0"]] * 4
    pipes = [process.stdin for process in processes if process.stdin is not None]
    for number in map(str, range(ROUNDS)):
        for pipe in pipes:
            pipe.write(number + "\n")
        for pipe in pipes:
            pipe.flush()
        assert [lines_of(process, 1) for process in processes] == [[number]] * 4
    for process in processes:
        process.communicate(timeout=PROCESS_LIMIT_S)
    assert [process.returncode for process in processes] == [0] * 4


@pytest.mark.thorough
def test_four_processes_create_and_write_at_once(tmp_path: Path) -> None:
    each = 25
    processes = [
        child(
            tmp_path / "new",
            """
            print(0, flush=True)
            input()
            with ResultStore.open(folder) as store:
                for number in range(int(sys.argv[3])):
                    record = a_record(f"p{sys.argv[2]}-{number:03}")
                    store.begin(record)
                    store.finish(record, READINGS)
            """,
            str(name),
            str(each),
        )
        for name in range(4)
    ]
    for process in processes:
        lines_of(process, 1)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=PROCESS_LIMIT_S)
    assert [process.returncode for process in processes] == [0] * 4
    with ResultStore.open(tmp_path / "new") as store:
        records = store.trials(state="done")
        assert len(records) == 4 * each
        assert salvage(store) == []
    for record in records:
        assert len(read_parquet(tmp_path / "new" / str(record.telemetry_file))) == len(READINGS)


@pytest.mark.parametrize("absolute", [True, False])
def test_an_owner_that_is_a_path_leads_nowhere(tmp_path: Path, *, absolute: bool) -> None:
    folder, victim = tmp_path / "results", tmp_path / "victim"
    victim.write_text("mine")
    with ResultStore.open(folder) as store:
        store.begin(a_record())
        with store.writing() as connection:
            connection.execute(update(claims).values(owner=str(victim) if absolute else "../../victim"))
        with pytest.raises(StoreError, match="claims names the owner"):
            salvage(store)
    assert victim.read_text() == "mine"


def test_a_spool_with_an_unknown_source_does_not_stop_the_salvage(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        store.begin(a_record())
        spool = store.spool_path("20261122-a1")
    columns = [["elsewhere" if field.name == "source" else 1] for field in SPOOL_SCHEMA]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, SPOOL_SCHEMA, strict=True)],
        schema=SPOOL_SCHEMA,
    )
    with pa.ipc.new_stream(str(spool), SPOOL_SCHEMA) as stream:
        stream.write_batch(batch)
    with ResultStore.open(tmp_path) as store:
        (record,) = salvage(store)
    assert "its telemetry is lost" in (record.reason or "")
    assert spool.with_name(f"{spool.name}.broken").is_file()


@pytest.mark.parametrize("version", ["0", "9" * 5000, "", b"4"])
def test_a_version_that_is_none_is_refused(tmp_path: Path, version: str | bytes) -> None:
    ResultStore.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute("UPDATE meta SET value = ?", (version,))
    for opened in (ResultStore.open, ResultStore.open_existing):
        with pytest.raises(StoreError, match="is it a results database"):
            opened(tmp_path)

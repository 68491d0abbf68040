"""Databases of older versions: migrated with everything in them, on both kinds of database, or not touched at all."""

from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text

from harness.core.record import TrialRecord
from harness.report.build import build_report
from harness.store import versions
from harness.store.address import DATABASE_NAME, ResultsAddress
from harness.store.connections import Access, postgresql_engine, sqlite_engine
from harness.store.database import ResultStore
from harness.store.deliveries import undelivered
from harness.store.errors import StoreError
from harness.store.farm_ledger import FarmLedger
from harness.store.migrations import BASE, upgrade
from harness.store.owner import PLACE_FILE
from harness.store.salvage import salvage
from harness.store.schema import SCHEMA_VERSION, metadata, record_to_row, trials
from harness.store.telemetry import read_parquet
from harness.store.triage import confirmations, triage_notes

FIXTURES = Path(__file__).parents[2] / "fixtures" / "results"
OLD = ["v1", "v2", "v3", "v4"]
PROCESS_LIMIT_S = 120

SALVAGED = "before the trial ended; recovered"


def copy_of(version: str, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(FIXTURES / version, tmp_path / version))
    with closing(sqlite3.connect(f"file:{folder / DATABASE_NAME}?mode=ro&immutable=1", uri=True)) as connection:
        claims = connection.execute("SELECT * FROM claims").fetchall()
    for _, _, *place in claims:
        # a version that keeps the folder's id there has it in the folder, too
        if place:
            (folder / PLACE_FILE).write_text(place[0])
    return folder


def rows(database: Path) -> dict[str, dict[str, Any]]:
    """Every value as it lies in the file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["trial_id"]: dict(row) for row in connection.execute("SELECT * FROM trials")}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


def set_version(database: Path, version: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
        connection.commit()


@pytest.mark.parametrize("version", OLD)
def test_an_old_database_is_migrated_with_every_value(
    version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of(version, tmp_path)
    old = rows(folder / DATABASE_NAME)
    with caplog.at_level(logging.WARNING), ResultStore.open(folder) as store:
        place = store.place
        records = store.trials()
        claimed = store.claimed()
        with store.reading() as connection:
            assert differences(connection) == []
    backup = folder / f"runs.db.{version}.backup"
    [said] = caplog.messages
    assert said.endswith(
        f"migrated from schema version {version[1:]} to {SCHEMA_VERSION}; the database as it was is kept as {backup}"
    )
    assert rows(backup) == old

    new = rows(folder / DATABASE_NAME)
    assert {trial_id: {name: row[name] for name in old[trial_id]} for trial_id, row in new.items()} == old
    assert [record.trial_id for record in records] == sorted(old)
    [running] = claimed
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as plain:
        assert plain.execute("SELECT trial_id, place FROM claims").fetchall() == [(running, place)]
        assert plain.execute("SELECT value FROM meta").fetchall() == [(str(SCHEMA_VERSION),)]
        assert plain.execute("SELECT version_num FROM alembic_version").fetchall() == [(str(SCHEMA_VERSION),)]


@pytest.mark.parametrize("version", OLD)
def test_what_a_new_column_says_of_an_old_trial_is_true(version: str, tmp_path: Path) -> None:
    with ResultStore.open(copy_of(version, tmp_path)) as store:
        records = store.trials()
    assert {(record.attempt, record.copies, record.app_variant) for record in records} == {(1, 1, "plain")}
    assert {(record.build, record.arm, record.files_removed_at) for record in records} == {(None,) * 3}
    assert {record.host_name for record in records} == {"host" if version == "v4" else None}
    cut = {record.reason for record in records if record.cut_short}
    assert len(cut) == 2
    assert all(reason == "trial: interrupted" or SALVAGED in str(reason) for reason in cut)
    assert [record.outcome for record in records if not record.cut_short] == ["loaded", "bad_alloc", None]


@pytest.mark.parametrize("version", OLD)
def test_files_of_an_old_version_are_read_and_a_report_is_made_of_them(version: str, tmp_path: Path) -> None:
    folder = copy_of(version, tmp_path)
    with ResultStore.open(folder) as store:
        [record] = salvage(store)
        done = store.trials(state="done")
        for one in done:
            if one.telemetry_file is not None:
                assert len(read_parquet(folder / one.telemetry_file)["t_ns"]) > 0
    assert record.cut_short
    assert record.sample_count is not None
    assert record.sample_count > 0
    assert sum(one.telemetry_file is not None for one in done) == len(done)
    [whole] = {one.run_id for one in done if one.outcome == "loaded"}
    report = build_report(folder, run_id=whole)
    assert report.index.is_file()


@pytest.mark.parametrize("version", OLD)
def test_who_only_reads_leaves_an_old_database_as_it_is(version: str, tmp_path: Path) -> None:
    folder = copy_of(version, tmp_path)
    before = bytes_of(folder)
    with ResultStore.open_existing(folder) as store:
        read = store.trials()
        assert len(read) == len(rows(folder / DATABASE_NAME))
        with pytest.raises(StoreError, match="read only"):
            store.begin(read[0])
    assert bytes_of(folder) == before
    with ResultStore.open(folder) as store:
        assert store.trials() == read


EARLY = {
    "v1": ["battery_celsius"],
    "v2": ["prewarm", "prewarm_chunk_bytes", "warmup", "guard_reserve_bytes"],
    "v3": ["cut_short", "copies", "prediction_calibration", "notices"],
    "v4": [],
}


@pytest.mark.parametrize("version", OLD)
def test_a_database_from_before_a_versions_last_columns_is_migrated_too(version: str, tmp_path: Path) -> None:
    folder = copy_of(version, tmp_path)
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        for column in EARLY[version]:
            connection.execute(f"ALTER TABLE trials DROP COLUMN {column}")
        connection.commit()
    with ResultStore.open(folder) as store:
        with store.reading() as connection_of_store:
            assert differences(connection_of_store) == []
        assert sum(record.cut_short for record in store.trials()) == 2


def on_sqlite(tmp_path: Path) -> Engine:
    return sqlite_engine(tmp_path / DATABASE_NAME, Access.WRITE)


def test_all_revisions_make_the_very_schema_on_sqlite(tmp_path: Path) -> None:
    assert_same_schema(on_sqlite(tmp_path))


def test_all_revisions_make_the_very_schema_on_postgresql(postgresql_url: str, tmp_path: Path) -> None:
    address = ResultsAddress(tmp_path, postgresql_url)
    engine = postgresql_engine(address, read_only=False)
    assert_same_schema(engine)
    with engine.begin() as connection:
        migrated = details(connection)
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    ResultStore.open(address).close()
    with engine.begin() as connection:
        assert details(connection) == migrated
    engine.dispose()


def assert_same_schema(engine: Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection, BASE, "here")
        assert differences(connection) == []
    engine.dispose()


def details(connection: Connection) -> set[tuple[Any, ...]]:
    """What Alembic does not compare: collations, keys, defaults."""
    columns = connection.execute(
        text(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
            "FROM information_schema.columns WHERE table_schema = 'public'"
        )
    )
    keys = {
        (name, inspect(connection).get_pk_constraint(name)["name"]) for name in inspect(connection).get_table_names()
    }
    return {tuple(row) for row in columns} | keys


def test_postgresql_is_migrated_from_version_1(postgresql_url: str, tmp_path: Path) -> None:
    # no released harness has kept version 1 there; later ones are migrated in the same way
    address = ResultsAddress(tmp_path, postgresql_url)
    engine = postgresql_engine(address, read_only=False)
    old = rows(FIXTURES / "v1" / DATABASE_NAME)
    with engine.begin() as connection:
        upgrade(connection, BASE, "", target="1")
        for row in old.values():
            names = ", ".join(f'"{name}"' for name in row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO trials ({names}) VALUES ({values})"), row)
        connection.execute(text("INSERT INTO meta VALUES ('schema_version', '1')"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"has schema version 1.*the next harness run .* does"):
        ResultStore.open_existing(address)
    with ResultStore.open(address) as store, ResultStore.open(copy_of("v1", tmp_path)) as other:
        assert store.trials() == other.trials()
        with store.reading() as reading:
            assert differences(reading) == []


def test_postgresql_is_migrated_from_version_4_with_its_rows(postgresql_url: str, tmp_path: Path) -> None:
    address = ResultsAddress(tmp_path, postgresql_url)
    engine = postgresql_engine(address, read_only=False)
    with ResultStore.open_existing(FIXTURES / "v4") as old:
        records = old.trials()
    with engine.begin() as connection:
        upgrade(connection, BASE, "", target="4")
        # the record's columns are still those of version 4
        connection.execute(trials.insert(), [record_to_row(record) for record in records])
        connection.execute(text("INSERT INTO meta VALUES ('schema_version', '4')"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"has schema version 4.*the next harness run .* does"):
        ResultStore.open_existing(address)
    with ResultStore.open(address) as store:
        assert store.trials() == records
        assert FarmLedger(store).runs() == []
        with store.reading() as reading:
            assert differences(reading) == []


def test_version_4_has_run_nothing_in_a_farm(tmp_path: Path) -> None:
    with ResultStore.open(copy_of("v4", tmp_path)) as store:
        assert [(note.state, note.author) for note in triage_notes(store)] == [("acknowledged", "author")]
        assert [note.result for note in confirmations(store)] == ["refuted"]
        assert (FarmLedger(store).runs(), FarmLedger(store).phones()) == ([], [])
        assert {one.trial_id for one in undelivered(store)} == set(store.trial_ids(state="done"))


def test_a_farm_of_version_5_is_as_it_was_kept() -> None:
    with ResultStore.open_existing(FIXTURES / "v5") as store:
        ledger = FarmLedger(store)
        [run] = ledger.runs(state="done")
        first, second = ledger.trials(run.run_id)
        [phone] = ledger.phones()
        to_deliver = [one.trial_id for one in undelivered(store)]
        done = store.trial_ids(state="done")
    assert (run.options, run.planned_s, run.attempts) == ({"build": None}, 2.5, 3)
    assert (first.state, first.trial_id, second.state, second.attempt) == ("done", done[0], "given_up", 3)
    assert (phone.drained, phone.out, phone.reserved_by) == (None, "three strikes", "author")
    assert to_deliver == done[1:]


def test_a_newer_database_is_left_untouched_with_its_log(tmp_path: Path) -> None:
    ResultStore.open(tmp_path).close()
    database = tmp_path / DATABASE_NAME
    set_version(database, "999")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    shutil.rmtree(tmp_path / "telemetry")
    before = bytes_of(tmp_path)
    for way in (ResultStore.open, ResultStore.open_existing):
        with pytest.raises(StoreError, match=r"runs\.db: has schema version 999.*use the harness that wrote it"):
            way(tmp_path)
    assert bytes_of(tmp_path) == before
    assert not (tmp_path / "telemetry").exists()


def test_a_newer_database_that_was_left_by_a_kill_is_left_untouched(tmp_path: Path) -> None:
    ResultStore.open(tmp_path).close()
    killed = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(\"UPDATE meta SET value = '999' WHERE key = 'schema_version'\")\n"
        "connection.commit()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    database = tmp_path / DATABASE_NAME
    ended = subprocess.run([sys.executable, "-c", killed, database], timeout=PROCESS_LIMIT_S, check=False)
    assert ended.returncode == -signal.SIGKILL
    before = bytes_of(tmp_path)
    assert before[f"{DATABASE_NAME}-wal"]
    with pytest.raises(StoreError, match="999"):
        ResultStore.open(tmp_path)
    after = bytes_of(tmp_path)
    # the index of the log is remade by whoever looks; it holds nothing
    assert {**after, f"{DATABASE_NAME}-shm": b""} == {**before, f"{DATABASE_NAME}-shm": b""}


@pytest.mark.parametrize("version", ["", "four", "-1"])
def test_a_version_that_is_no_number_is_refused(tmp_path: Path, version: str) -> None:
    ResultStore.open(tmp_path).close()
    set_version(tmp_path / DATABASE_NAME, version)
    with pytest.raises(StoreError, match="not a number"):
        ResultStore.open(tmp_path)


def test_a_run_of_the_old_version_is_not_disturbed(tmp_path: Path) -> None:
    folder = copy_of("v3", tmp_path)
    before = (folder / DATABASE_NAME).read_bytes()
    [owner] = (folder / ".owners").iterdir()
    body = (
        "import fcntl, sys\n"
        "held = open(sys.argv[1])\n"
        "fcntl.flock(held, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", body, owner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        with pytest.raises(StoreError, match="a run of that version is under way"):
            ResultStore.open(folder)
        assert (folder / DATABASE_NAME).read_bytes() == before
        process.communicate("\n", timeout=PROCESS_LIMIT_S)
    with ResultStore.open(folder) as store:
        assert len(store.claimed()) == 1


KILLED_IN_MIGRATION = """
import os, signal, sys
from pathlib import Path
from alembic.runtime.migration import MigrationContext
from harness.store.database import ResultStore

steps = 0
def count(*_, **__):
    global steps
    steps += 1
    if steps == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

from sqlalchemy import Engine, event
event.listen(Engine, "before_cursor_execute", count)
ResultStore.open(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("statement", [12, 40, 70, 100])
def test_a_migration_that_is_killed_leaves_the_old_version_whole(tmp_path: Path, statement: int) -> None:
    folder = copy_of("v1", tmp_path)
    old = rows(folder / DATABASE_NAME)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_IN_MIGRATION, folder, str(statement)],
        timeout=PROCESS_LIMIT_S,
        check=False,
        stderr=subprocess.DEVNULL,
    )
    assert ended.returncode == -signal.SIGKILL
    assert versions.look(folder / DATABASE_NAME) == 1
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    with closing(sqlite3.connect(copied / DATABASE_NAME)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert rows(copied / DATABASE_NAME) == old
    with ResultStore.open(folder) as store:
        assert len(store.trials()) == len(old)


AT_ONCE = 4
"""More than the cores of the machine that tests it, so that some wait."""
OPEN_AT_ONCE = """
import sys
from pathlib import Path
from harness.store.address import parse_results
from harness.store.database import ResultStore
print("ready", flush=True)
sys.stdin.readline()
with ResultStore.open(parse_results(sys.argv[1])) as store:
    print(len(store.trials()))
"""


def open_at_once(results: str) -> list[int]:
    """How many trials each of the processes found."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT_ONCE, results],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(AT_ONCE)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [int(process.communicate(timeout=PROCESS_LIMIT_S)[0]) for process in processes]


@pytest.mark.thorough
def test_processes_migrate_at_once(tmp_path: Path) -> None:
    folder = copy_of("v1", tmp_path)
    count = len(rows(folder / DATABASE_NAME))
    assert open_at_once(str(folder)) == [count] * AT_ONCE


@pytest.mark.thorough
def test_processes_make_a_database_at_once_on_postgresql(postgresql_url: str, tmp_path: Path) -> None:
    assert open_at_once(f"{postgresql_url}?files={tmp_path}") == [0] * AT_ONCE


def test_a_database_of_this_version_is_opened_without_alembic(tmp_path: Path) -> None:
    body = (
        "import sys\nfrom pathlib import Path\nfrom harness.store.database import ResultStore\n"
        "for way in (ResultStore.open, ResultStore.open, ResultStore.open_existing):\n"
        "    way(Path(sys.argv[1])).close()\n"
        "print([name for name in ('alembic', 'pandas', 'psycopg') if name in sys.modules])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", body, tmp_path], capture_output=True, text=True, check=True, timeout=PROCESS_LIMIT_S
    )
    assert told.stdout.strip() == "[]"


def test_a_backup_that_is_there_already_stays(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "v1" / "runs.db", tmp_path)
    (tmp_path / "runs.db.v1.backup").write_text("an earlier one")
    ResultStore.open(tmp_path).close()
    assert (tmp_path / "runs.db.v1.backup").read_text() == "an earlier one"
    assert rows(tmp_path / "runs.db.v1.2.backup") == rows(FIXTURES / "v1" / "runs.db")


def test_a_database_of_something_else_gets_no_tables(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "runs.db")) as other:
        other.execute("CREATE TABLE marathons (km REAL)")
    with pytest.raises(StoreError, match=r"something else.*marathons"):
        ResultStore.open(tmp_path)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("marathons",)]


def test_every_released_version_has_a_fixture() -> None:
    found = {path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name.startswith("v")}
    assert found == {f"v{number}" for number in range(1, SCHEMA_VERSION + 1)}


def test_results_of_this_version_are_what_this_version_reads() -> None:
    with ResultStore.open_existing(FIXTURES / f"v{SCHEMA_VERSION}") as store:
        records: list[TrialRecord] = store.trials()
    assert [record.outcome for record in records if not record.cut_short] == ["loaded", "bad_alloc", None]

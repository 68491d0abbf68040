"""The results folder: records in SQLite, telemetry and artifacts as files beside it.

    runs.db   telemetry/<trial_id>.parquet   artifacts/<trial_id>/   report/

Safe for several processes at once, on a local disk (SQLite's WAL needs shared memory; NFS and SMB have none).
Order of durability: a trial's telemetry is on disk before the row that names it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Engine, Select, create_engine, delete, event, inspect, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from harness.core.record import TrialRecord, TrialState
from harness.core.telemetry import Reading
from harness.store.address import DATABASE_NAME, Results, address_of
from harness.store.errors import StoreError
from harness.store.owner import Owner, exclusive, place_id
from harness.store.schema import (
    RECORD_TYPES,
    SCHEMA_VERSION,
    claims,
    meta,
    metadata,
    record_to_row,
    row_to_record,
    trials,
)
from harness.store.telemetry import PARQUET_SUFFIX, SPOOL_SUFFIX, TelemetrySpool, recover, sync_folder, write_parquet

if TYPE_CHECKING:
    import pandas as pd

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for its turn; with eight writing processes the 99th percentile was below 1 s."""

_LOCK_NAME = ".lock"
_TRIAL_ID = re.compile(r"[0-9A-Za-z-]{1,128}\Z")
_READ_ONLY = "harness_read_only"


def check_trial_id(trial_id: str) -> str:
    """The id itself; raises StoreError unless it is plain, for it becomes the name of files."""
    if not _TRIAL_ID.match(trial_id):
        raise StoreError(f"trial id {trial_id!r}: only digits, letters and dashes, at most 128")
    return trial_id


class ResultStore:
    """An open results folder; a context manager. Methods may be called from several threads."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        """Use `open`."""
        self.folder = folder
        self.engine = engine
        self._owner: Owner | None = None

    @classmethod
    def open(cls, results: Results) -> ResultStore:
        """Opens a results folder, or the one that holds the given `runs.db`; makes it if need be.

        Raises StoreError if the database is newer than this program, has other columns, or is none.
        """
        folder = address_of(results).folder
        try:
            for name in ("telemetry", "artifacts", "report"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            engine = _make_engine(folder / DATABASE_NAME)
            # SQLite does not wait for its turn while the journal mode changes, so the first to come does it alone
            with exclusive(folder / _LOCK_NAME):
                _prepare(engine, folder / DATABASE_NAME)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be used as a results folder: {error.strerror}") from error
        return cls(folder, engine)

    def close(self) -> None:
        """Closes the database. Trials of this store that are still running count as abandoned from now on."""
        self.engine.dispose()
        if self._owner is not None:
            self._owner.release()
            self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, record: TrialRecord) -> TrialRecord:
        """Keeps a trial as running; raises StoreError if its id is taken or is no plain id."""
        check_trial_id(record.trial_id)
        running = replace(record, state=TrialState.RUNNING.value)
        if self._owner is None:
            self._owner = Owner.take(self.folder)
        try:
            with self._writing() as connection:
                connection.execute(trials.insert().values(record_to_row(running)))
                connection.execute(
                    claims.insert().values(
                        trial_id=record.trial_id, owner=self._owner.token, place=place_id(self.folder)
                    )
                )
        except IntegrityError as error:
            raise StoreError(f"trial {record.trial_id}: begun before; every trial needs an id of its own") from error
        return running

    def spool(self, trial_id: str) -> TelemetrySpool:
        """The stream for the readings of a running trial."""
        return TelemetrySpool(self.spool_path(trial_id))

    def finish(self, record: TrialRecord, readings: Sequence[Reading] | None = None) -> TrialRecord:
        """Keeps the trial as done and returns the record as kept, with `telemetry_file` set.

        `readings` are all readings of the trial (stream and journal merged); None takes what the spool holds, which
        must be closed. Without any reading there is no file. Raises StoreError unless the trial is running.
        """
        trial_id = check_trial_id(record.trial_id)
        spool = self.spool_path(trial_id)
        if readings is None:
            readings = recover(spool) if spool.exists() else []
        if readings:
            write_parquet(self.telemetry_path(trial_id), readings)
        telemetry_file = self._relative(self.telemetry_path(trial_id)) if readings else None
        done = replace(record, state=TrialState.DONE.value, telemetry_file=telemetry_file)
        self.close_row(done)
        spool.unlink(missing_ok=True)
        return done

    def close_row(self, done: TrialRecord) -> None:
        """Replaces the row of a running trial by its last record; the telemetry must be on disk already."""
        with self._writing() as connection:
            changed = connection.execute(
                update(trials)
                .where(trials.c.trial_id == done.trial_id, trials.c.state == TrialState.RUNNING.value)
                .values(record_to_row(done))
            )
            if changed.rowcount != 1:
                raise StoreError(f"trial {done.trial_id}: not running; begin it first, finish it once")
            connection.execute(delete(claims).where(claims.c.trial_id == done.trial_id))

    def trials(self, **filters: Any) -> list[TrialRecord]:
        """Records whose columns equal the given values (any of them, for a list), in order of their ids.

        Raises StoreError for a column that there is not.
        """
        return [row_to_record(row) for row in self._rows(filters)]

    def trial_ids(self) -> list[str]:
        """Ids of all trials, in order of time."""
        with self._reading() as connection:
            return list(connection.execute(select(trials.c.trial_id).order_by(trials.c.trial_id)).scalars())

    def frame(self, **filters: Any) -> pd.DataFrame:
        """The same as a frame, one row a trial, with the record's column names.

        Integers are Int64, rates Float64, yes or no boolean, text string, each `pandas.NA` where the record has None;
        `evidence`, `phases` and their like and `app_entitlements` stay Python values (lists of dicts; dict or None).
        """
        import pandas as pd  # here: 1.5 s that a running trial does not need

        kinds: dict[type, Any] = {
            bool: pd.BooleanDtype(),
            int: pd.Int64Dtype(),
            float: pd.Float64Dtype(),
            str: pd.StringDtype(),
        }
        rows = self._rows(filters)
        return pd.DataFrame(
            {
                name: pd.Series([row[name] for row in rows], dtype=kinds.get(plain, object))
                for name, (plain, _) in RECORD_TYPES.items()
            }
        )

    def artifacts_dir(self, trial_id: str) -> Path:
        """The trial's folder for journal, stderr and reports; made if need be."""
        folder = self.folder / "artifacts" / check_trial_id(trial_id)
        folder.mkdir(exist_ok=True)
        return folder

    def spool_path(self, trial_id: str) -> Path:
        """Where a running trial's readings go."""
        return self.folder / "telemetry" / (check_trial_id(trial_id) + SPOOL_SUFFIX)

    def telemetry_path(self, trial_id: str) -> Path:
        """Where a done trial's readings are."""
        return self.folder / "telemetry" / (check_trial_id(trial_id) + PARQUET_SUFFIX)

    def claimed(self) -> dict[str, str]:
        """Trial id → owner's token of every trial that is not done and whose files are in this folder."""
        here = claims.c.place == place_id(self.folder)
        with self._reading() as connection:
            return {row.trial_id: row.owner for row in connection.execute(select(claims).where(here))}

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _rows(self, filters: dict[str, Any]) -> Sequence[Any]:
        query: Select[Any] = select(trials).order_by(trials.c.trial_id)
        for name, value in filters.items():
            if name not in trials.c:
                raise StoreError(f"there is no column {name!r}; results/README.md lists the columns")
            column = trials.c[name]
            query = query.where(column.in_(value) if isinstance(value, list | tuple | set) else column == value)
        with self._reading() as connection:
            return connection.execute(query).mappings().all()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _named(self.folder / DATABASE_NAME), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        reader = self.engine.execution_options(**{_READ_ONLY: True})
        with _named(self.folder / DATABASE_NAME), reader.begin() as connection:
            yield connection


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns the driver's errors into StoreError with the file's name; a clash of ids stays what it is."""
    try:
        yield
    except IntegrityError:
        raise
    except (DatabaseError, sqlite3.DatabaseError) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        raise StoreError(f"{path}: {cause}; is it a results database, on a local disk, with space?") from error


def _make_engine(path: Path) -> Engine:
    # isolation_level=None: the driver must not begin transactions of its own, see _begin
    engine = create_engine(
        f"sqlite+pysqlite:///{path}", connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S}
    )
    event.listen(engine, "connect", _set_up_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up_connection(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # NORMAL: a killed process loses nothing; a power cut may lose the last rows but never damages the file
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _set_journal_mode(engine: Engine) -> None:
    """Once a database: the mode stays with the file. Not possible inside a transaction, hence below SQLAlchemy's."""
    pooled = engine.raw_connection()
    try:
        pooled.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        pooled.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another has written between (no waiting helps);
    # one that says at the start that it will write waits for its turn.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _prepare(engine: Engine, path: Path) -> None:
    """Makes the tables, or checks that they are this version's."""
    with _named(path):
        _set_journal_mode(engine)
        with engine.begin() as connection:
            if not inspect(connection).has_table(meta.name):
                metadata.create_all(connection)
                connection.execute(meta.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
            found = connection.execute(select(meta.c.value).where(meta.c.key == "schema_version")).scalar()
            columns = {column["name"] for column in inspect(connection).get_columns(trials.name)}
    if found != str(SCHEMA_VERSION):
        raise StoreError(
            f"{path}: has schema version {found}, this harness knows {SCHEMA_VERSION}; "
            "use the harness that wrote it, or another results folder"
        )
    if columns != set(RECORD_TYPES):
        raise StoreError(
            f"{path}: its columns differ from this harness's ({', '.join(sorted(columns ^ set(RECORD_TYPES)))}); "
            "use the harness that wrote it, or another results folder"
        )
    sync_folder(path.parent)

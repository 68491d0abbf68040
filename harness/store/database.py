"""Results: records in a database, telemetry and artifacts as files in a folder.

    runs.db   telemetry/<trial_id>.parquet   artifacts/<trial_id>/   report/

The records are in the folder's SQLite file or in a PostgreSQL database. Safe for several processes at once; SQLite on
a local disk only (its WAL needs shared memory; NFS and SMB have none). Order of durability: a trial's telemetry is on
disk before the row that names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Engine, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from harness.core.record import TrialRecord, TrialState
from harness.core.telemetry import Reading
from harness.store import versions
from harness.store.address import DATABASE_NAME, Results, ResultsAddress, address_of
from harness.store.connections import (
    READ_ONLY,
    Access,
    named,
    postgresql_engine,
    set_write_ahead_log,
    sqlite_engine,
)
from harness.store.errors import NoResults, StoreError
from harness.store.neighbours import note_server
from harness.store.owner import Owner, exclusive, place_id
from harness.store.queries import read_frame, select_trials
from harness.store.schema import RECORD_TYPES, SCHEMA_VERSION, TRIAL_ID, claims, record_to_row, row_to_record, trials
from harness.store.telemetry import PARQUET_SUFFIX, SPOOL_SUFFIX, TelemetrySpool, recover, write_parquet

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = ("telemetry", "artifacts", "report")
_LOCK_NAME = ".lock"
_WHICH, _IN_STATE = "which", "in_state"
# The columns to set come with the values: a statement that names them all takes SQLAlchemy 4 ms each time.
_CLOSE = update(trials).where(trials.c.trial_id == bindparam(_WHICH), trials.c.state == bindparam(_IN_STATE))


def check_trial_id(trial_id: str) -> str:
    """The id itself; raises StoreError unless it is plain, for it becomes the name of files."""
    if not TRIAL_ID.match(trial_id):
        raise StoreError(f"trial id {trial_id!r}: only digits, letters and dashes, at most 128")
    return trial_id


class ResultStore:
    """Open results; a context manager. Methods may be called from several threads."""

    def __init__(
        self,
        address: ResultsAddress,
        engine: Engine,
        *,
        read_only: bool = False,
        copy: TemporaryDirectory[str] | None = None,
    ) -> None:
        """Use `open` or `open_existing`."""
        self.address = address
        self.folder = address.folder
        self.engine = engine
        self.read_only = read_only
        self._copy = copy
        self._owner: Owner | None = None

    @classmethod
    def open(cls, results: Results) -> ResultStore:
        """Opens results to write to them; makes folder and tables if need be, and migrates an older database.

        A migrated SQLite file is kept as it was beside the new one, and the log (stderr) says so. Raises StoreError if
        the database is newer than this program (it is left untouched), has other columns, is none, or cannot be
        reached.
        """
        address = address_of(results)
        if address.url is not None:
            return cls._open_server(address)
        folder = address.folder
        path = folder / DATABASE_NAME
        versions.refuse_newer(address.database, versions.look(path))
        _make_folders(address)
        engine = sqlite_engine(path, Access.WRITE)
        try:
            # SQLite does not wait for its turn while the journal mode changes, so the first to come does it alone
            with _folder_trouble(address), exclusive(folder / _LOCK_NAME):
                with named(address):
                    set_write_ahead_log(engine)
                versions.prepare(engine, address)
        except BaseException:
            engine.dispose()
            raise
        return cls(address, engine)

    @classmethod
    def _open_server(cls, address: ResultsAddress) -> ResultStore:
        engine = postgresql_engine(address, read_only=False)
        try:
            with _folder_trouble(address):
                versions.prepare(engine, address)
            _make_folders(address)
            with _folder_trouble(address):
                note_server(address)
        except BaseException:
            engine.dispose()
            raise
        return cls(address, engine)

    @classmethod
    def open_existing(cls, results: Results) -> ResultStore:
        """Opens results to read them, and changes nothing: no folder is made, no table, no version.

        Works on a folder that may not be written. A SQLite file of an older version is read from a migrated copy,
        which goes with `close`. Raises NoResults where there are none; StoreError like `open`, and for an older
        PostgreSQL database, which has to be migrated first.
        """
        address = address_of(results)
        address.must_exist()
        return cls._read_server(address) if address.url is not None else cls._read_file(address)

    @classmethod
    def _read_server(cls, address: ResultsAddress) -> ResultStore:
        engine = postgresql_engine(address, read_only=True)
        try:
            with named(address), engine.begin() as connection:
                found = versions.version_of(connection, address.database)
                versions.refuse_newer(address.database, found)
                if found is None:
                    raise _nothing_in(address)
                if found < SCHEMA_VERSION:
                    raise StoreError(
                        f"{address.database}: has schema version {found}, this harness knows {SCHEMA_VERSION}; "
                        "reading does not migrate it, the next harness run with these results does"
                    )
                versions.check_columns(connection, address.database)
        except BaseException:
            engine.dispose()
            raise
        return cls(address, engine, read_only=True)

    @classmethod
    def _read_file(cls, address: ResultsAddress) -> ResultStore:
        path = address.folder / DATABASE_NAME
        found = versions.look(path)
        versions.refuse_newer(address.database, found)
        if found is None:
            raise _nothing_in(address)
        writable = os.access(address.folder, os.W_OK) and os.access(path, os.W_OK)
        helpers = versions.has_unwritten_log(path)
        if found < SCHEMA_VERSION or (helpers and not writable and not versions.has_index(path)):
            return cls._read_copy(address, found, writable=writable)
        still = Access.READ_BESIDE_HELPERS if helpers else Access.READ_STILL
        store = cls(address, sqlite_engine(path, Access.READ if writable else still), read_only=True)
        try:
            with store.reading() as connection:
                versions.check_columns(connection, address.database)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _read_copy(cls, address: ResultsAddress, found: int, *, writable: bool) -> ResultStore:
        copy = TemporaryDirectory(prefix="iphone-load-harness-")
        path = Path(copy.name) / DATABASE_NAME
        engine = sqlite_engine(path, Access.WRITE)
        try:
            take = versions.copy_database if writable else versions.copy_still_database
            take(address.folder / DATABASE_NAME, path)
            with named(address), engine.begin() as connection:
                if found < SCHEMA_VERSION:
                    # whose trials are still running is none of a reader's business
                    versions.upgrade_tables(connection, found, place="")
                versions.check_columns(connection, address.database)
        except BaseException:
            engine.dispose()
            copy.cleanup()
            raise
        return cls(address, engine, read_only=True, copy=copy)

    def close(self) -> None:
        """Closes the database. Trials of this store that are still running count as abandoned from now on."""
        self.engine.dispose()
        if self._owner is not None:
            self._owner.release()
            self._owner = None
        if self._copy is not None:
            self._copy.cleanup()

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
        self._check_writable()
        if self._owner is None:
            with _folder_trouble(self.address):
                self._owner = Owner.take(self.folder)
        try:
            with self.writing() as connection:
                connection.execute(trials.insert(), record_to_row(running))
                connection.execute(
                    claims.insert().values(trial_id=record.trial_id, owner=self._owner.token, place=self.place)
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
        self._check_writable()
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
        with self.writing() as connection:
            changed = connection.execute(
                _CLOSE, {**record_to_row(done), _WHICH: done.trial_id, _IN_STATE: TrialState.RUNNING.value}
            )
            if changed.rowcount != 1:
                raise StoreError(f"trial {done.trial_id}: not running; begin it first, finish it once")
            connection.execute(delete(claims).where(claims.c.trial_id == done.trial_id))

    def trials(self, **filters: Any) -> list[TrialRecord]:
        """Records whose columns equal the given values (any of them, for a list), in order of their ids.

        `since` and `until` bound `started_at`: a date, a time with its zone, or either as text; from the first on and
        before the second. Raises StoreError for a column that there is not.
        """
        with self.reading() as connection:
            query = select_trials(tuple(RECORD_TYPES), filters, connection.dialect.name)
            rows: Sequence[Any] = connection.execute(query).mappings().all()
        return [row_to_record(row) for row in rows]

    def rows(self, names: Sequence[str], **filters: Any) -> list[dict[str, Any]]:
        """These columns of those records (see `trials`), plain values with None for null; for few, without pandas."""
        with self.reading() as connection:
            rows = connection.execute(select_trials(names, filters, connection.dialect.name)).mappings()
            return [dict(row) for row in rows]

    def trial_ids(self, **filters: Any) -> list[str]:
        """Ids of all trials, or of those that `filters` mean (see `trials`), in order of time."""
        with self.reading() as connection:
            return list(connection.execute(select_trials(("trial_id",), filters, connection.dialect.name)).scalars())

    def frame(self, **filters: Any) -> pd.DataFrame:
        """The same as a frame, one row a trial, with the record's column names.

        Integers are Int64, rates Float64, yes or no boolean, text string, each `pandas.NA` where the record has None;
        `evidence`, `phases` and their like and `app_entitlements` stay Python values (lists of dicts; dict or None).
        """
        return self.columns(tuple(RECORD_TYPES), **filters)

    def columns(self, names: Sequence[str], **filters: Any) -> pd.DataFrame:
        """The same with these columns only, in this order: a hundred thousand trials in the blink of an eye."""
        with self.reading() as connection:
            return read_frame(connection, names, filters)

    def artifacts_dir(self, trial_id: str) -> Path:
        """The trial's folder for journal, stderr and reports; made if need be, but by a reader."""
        folder = self.folder / "artifacts" / check_trial_id(trial_id)
        if not self.read_only:
            with _folder_trouble(self.address):
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
        here = claims.c.place == self.place
        with self.reading() as connection:
            return {row.trial_id: row.owner for row in connection.execute(select(claims).where(here))}

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    @cached_property
    def place(self) -> str:
        """The id of this folder in the database, see `owner.place_id`."""
        return place_id(self.folder)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: alone on SQLite. Raises StoreError, and IntegrityError for a clash of keys."""
        self._check_writable()
        with named(self.address), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that does not write. Raises StoreError."""
        reader = self.engine.execution_options(**{READ_ONLY: True})
        with named(self.address), reader.begin() as connection:
            yield connection

    def _check_writable(self) -> None:
        if self.read_only:
            raise StoreError(f"{self.address.text}: was opened to be read only")


def _make_folders(address: ResultsAddress) -> None:
    with _folder_trouble(address):
        for name in FOLDERS:
            (address.folder / name).mkdir(parents=True, exist_ok=True)


@contextmanager
def _folder_trouble(address: ResultsAddress) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{address.folder}: cannot be used as a results folder: {error.strerror}") from error


def _nothing_in(address: ResultsAddress) -> NoResults:
    return NoResults(f"{address.text} holds no results yet; run a suite first: harness run SUITE.toml")

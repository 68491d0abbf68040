"""Which schema a database has, and what to do about it: made anew, migrated, taken as it is, or refused untouched."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, func, inspect, select, update

from harness.store.address import DATABASE_NAME, ResultsAddress
from harness.store.connections import READ_ONLY, Access, named, sqlite_connection
from harness.store.errors import StoreError
from harness.store.owner import dead_owner, place_id
from harness.store.schema import RECORD_TYPES, SCHEMA_VERSION, claims, meta, metadata, trials
from harness.store.telemetry import PART_SUFFIX, sync_file, sync_folder

log = logging.getLogger(__name__)

VERSION_KEY = "schema_version"
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")
_MAX_SHOWN = 40
_MIGRATION_LOCK = 0x_4C_4F_41_44
"""The number of PostgreSQL's advisory lock: whoever holds it makes or migrates the tables."""

# Alembic's own note of the version, which it makes by itself when it migrates. Not in the schema's metadata: there
# it would be taken for a table of ours.
revisions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True, nullable=False))
revisions.primary_key.name = "alembic_version_pkc"


def look(path: Path) -> int | None:
    """The schema version of a SQLite file, without a change to it or beside it; None: no file, or nothing in it yet.

    Raises StoreError for a file that is no database of results.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return None
    if not has_unwritten_log(path):
        return _version_in(path, path, Access.READ_STILL)
    if has_index(path):
        return _version_in(path, path, Access.READ_BESIDE_HELPERS)
    # SQLite would make an index beside the file, or fail where it may not
    with TemporaryDirectory(prefix="iphone-load-harness-") as folder:
        copy = Path(folder) / path.name
        copy_still_database(path, copy)
        return _version_in(copy, path, Access.READ)


def _version_in(path: Path, named_as: Path, access: Access) -> int | None:
    with named(ResultsAddress(named_as.parent)), closing(sqlite_connection(path, access)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (meta.name,)).fetchone() is None:
            return None
        row = connection.execute(f"SELECT value FROM {meta.name} WHERE key = ?", (VERSION_KEY,)).fetchone()  # noqa: S608  # a name of ours
    return _number(named_as, None if row is None else row[0])


def has_unwritten_log(path: Path) -> bool:
    """Whether some of the file's rows are only in the log beside it: somebody writes, or was killed."""
    log_file = path.with_name(path.name + "-wal")
    return log_file.is_file() and log_file.stat().st_size > 0


def has_index(path: Path) -> bool:
    """Whether the log's index is there: without it only who may write in the folder can read the log."""
    return path.with_name(path.name + "-shm").is_file()


def refuse_newer(database: str, found: int | None) -> None:
    """Raises StoreError for a database that only a newer harness can read."""
    if found is not None and found > SCHEMA_VERSION:
        raise StoreError(
            f"{database}: has schema version {found}, this harness knows {SCHEMA_VERSION}; "
            "use the harness that wrote it, or another results folder"
        )


def version_of(connection: Connection, database: str) -> int | None:
    """The schema version of an open database; None: it has no tables of ours."""
    if not inspect(connection).has_table(meta.name):
        return None
    return _number(database, connection.execute(select(meta.c.value).where(meta.c.key == VERSION_KEY)).scalar())


def _number(database: object, text: str | None) -> int:
    # bytes where text belongs, too: SQLite keeps any value in any column
    if not isinstance(text, str) or not _VERSION.match(text):
        shown = repr(text)[:_MAX_SHOWN]
        raise StoreError(f"{database}: its schema version is {shown}, not a number from 1; is it a results database?")
    return int(text)


def prepare(engine: Engine, address: ResultsAddress) -> None:
    """Makes the tables, or migrates them, or checks that they are this version's; one process at a time.

    The caller holds the folder's lock where the database is a SQLite file. All or nothing: a process that is killed
    in it leaves the version that was there.
    """
    if address.url is not None and _is_current(engine, address):
        return
    with named(address), engine.begin() as connection:
        if address.url is not None:
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        found = version_of(connection, address.database)
        refuse_newer(address.database, found)
        if found is None:
            _refuse_foreign(connection, address)
            _create(connection)
        elif found < SCHEMA_VERSION:
            _migrate(connection, address, found)
        check_columns(connection, address.database)
    if address.url is None:
        sync_folder(address.folder)


def _is_current(engine: Engine, address: ResultsAddress) -> bool:
    with named(address), engine.execution_options(**{READ_ONLY: True}).begin() as connection:
        found = version_of(connection, address.database)
        if found == SCHEMA_VERSION:
            check_columns(connection, address.database)
    return found == SCHEMA_VERSION


def check_columns(connection: Connection, database: str) -> None:
    """Raises StoreError for tables that call themselves this version's and have other columns."""
    columns = {column["name"] for column in inspect(connection).get_columns(trials.name)}
    if columns != set(RECORD_TYPES):
        raise StoreError(
            f"{database}: its columns differ from this harness's ({', '.join(sorted(columns ^ set(RECORD_TYPES)))}); "
            "use the harness that wrote it, or another results folder"
        )


def _refuse_foreign(connection: Connection, address: ResultsAddress) -> None:
    """A file with another program's tables was named by mistake; a server's database may well be shared."""
    names = inspect(connection).get_table_names() if address.url is None else []
    if names:
        raise StoreError(
            f"{address.database}: is a database of something else (its tables: {', '.join(sorted(names)[:5])}); "
            "use another results folder"
        )


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(meta.insert().values(key=VERSION_KEY, value=str(SCHEMA_VERSION)))
    # as Alembic would note it: a database that is made here is migrated later like any other
    revisions.create(connection, checkfirst=True)
    connection.execute(revisions.insert().values(version_num=str(SCHEMA_VERSION)))


def _migrate(connection: Connection, address: ResultsAddress, found: int) -> None:
    _refuse_while_running(connection, address, found)
    backup = ""
    if address.url is None:
        kept = backup_path(address.folder, found)
        copy_database(address.folder / DATABASE_NAME, kept)
        backup = f"; the database as it was is kept as {kept}"
    upgrade_tables(connection, found, place_id(address.folder))
    log.warning("%s: migrated from schema version %d to %d%s", address.database, found, SCHEMA_VERSION, backup)


def upgrade_tables(connection: Connection, found: int, place: str) -> None:
    """The tables and both notes of their version, in the caller's transaction."""
    from harness.store.migrations import upgrade  # here: a database of this version does not need it

    upgrade(connection, str(found), place)
    connection.execute(update(meta).where(meta.c.key == VERSION_KEY).values(value=str(SCHEMA_VERSION)))


def _refuse_while_running(connection: Connection, address: ResultsAddress, found: int) -> None:
    """A harness of the old version that is under way could not write its next trial."""
    for token in connection.execute(select(claims.c.owner).distinct()).scalars().all():
        with dead_owner(address.folder, token) as dead:
            if not dead:
                raise StoreError(
                    f"{address.database}: has schema version {found}, and a run of that version is under way; "
                    "wait for its end, then it is migrated"
                )


def backup_path(folder: Path, version: int) -> Path:
    """Where the database of an older version is kept when it is migrated; one that is kept there already stays."""
    names = (f"{DATABASE_NAME}.v{version}{f'.{number}' if number > 1 else ''}.backup" for number in count(1))
    return next(path for path in map(folder.joinpath, names) if not path.exists())


def copy_database(path: Path, target: Path) -> None:
    """A copy with everything that is committed, whole or not there; beside living writers. Raises StoreError."""
    part = target.with_name(target.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite_connection(path, Access.READ)) as source,
            closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)
        sync_file(part)
        part.replace(target)
        sync_folder(target.parent)
    except (sqlite3.Error, OSError) as error:
        # where nothing can be written nothing can be removed either, and the first trouble is the one to tell
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreError(f"{target}: the database cannot be copied there ({error}); is there space?") from error


def copy_still_database(path: Path, target: Path) -> None:
    """A copy out of a folder that may not be written, with the log beside it. Raises StoreError."""
    try:
        shutil.copyfile(path, target)
        if has_unwritten_log(path):
            shutil.copyfile(path.with_name(path.name + "-wal"), target.with_name(target.name + "-wal"))
    except OSError as error:
        raise StoreError(f"{target}: the database cannot be copied there ({error}); is there space?") from error

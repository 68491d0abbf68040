"""Connections to the database of results: SQLite in the folder, or PostgreSQL; and their errors in plain words.

Knows addresses and SQLAlchemy, nothing of tables.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from harness.core.errors import UsageError
from harness.store.address import ResultsAddress
from harness.store.errors import StoreError

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for its turn; with eight writing processes the 99th percentile was below 1 s."""
CONNECT_LIMIT_S = 10
"""How long a server may take to answer a new connection, where the URL says nothing of `connect_timeout`."""
# A server that vanishes without a word is given up after about a minute, and not after TCP's two hours.
_KEEP_ALIVE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
MAPPED_BYTES = 4 << 30
"""How much of a file a reader maps instead of copying it: the rows' JSON is stepped over, not read. Measured on 100,000
trials in 0.4 GB: a third of the time."""
READ_ONLY = "harness_read_only"
"""Execution option of a transaction that will not write."""


class Access(StrEnum):
    """How a SQLite file is opened."""

    WRITE = "rwc"
    READ = "rw"
    """Beside living writers. SQLite's own helper files come and go with the connection; nothing is written."""
    READ_BESIDE_HELPERS = "ro"
    """In a folder that may not be written, where a writer's helper files (`-wal`, `-shm`) are."""
    READ_STILL = "still"
    """In a folder that may not be written, of a file that nobody writes: no lock, no helper file."""


def sqlite_connection(path: Path, access: Access) -> sqlite3.Connection:
    """A connection that begins no transaction by itself. Raises sqlite3.Error."""
    how = "mode=ro&immutable=1" if access is Access.READ_STILL else f"mode={access.value}"
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        # the pool lends a connection to one thread at a time
        check_same_thread=False,
    )
    # NORMAL: a killed process loses nothing; a power cut may lose the last rows but never damages the file
    pragma = "synchronous=NORMAL" if access is Access.WRITE else "query_only=ON"
    connection.execute(f"PRAGMA {pragma}")
    if access is not Access.WRITE:
        connection.execute(f"PRAGMA mmap_size={MAPPED_BYTES}")
    return connection


def sqlite_engine(path: Path, access: Access) -> Engine:
    """Nothing is opened yet."""
    engine = create_engine("sqlite+pysqlite://", creator=lambda: sqlite_connection(path, access), poolclass=QueuePool)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another has written between (no waiting helps);
    # one that says at the start that it will write waits for its turn.
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def set_write_ahead_log(engine: Engine) -> None:
    """Once a SQLite file: the mode stays with it. Not possible inside a transaction, hence below SQLAlchemy's."""
    pooled = engine.raw_connection()
    try:
        pooled.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        pooled.close()


def postgresql_engine(address: ResultsAddress, *, read_only: bool) -> Engine:
    """Nothing is connected yet; a connection that has gone is replaced when the next transaction begins.

    Raises UsageError where the driver is not installed or the URL is malformed.
    """
    assert address.url is not None
    parts = urlsplit(address.url)
    options = {key: str(value) for key, value in _KEEP_ALIVE.items()}
    options |= {"application_name": "iphone-load-harness", "connect_timeout": str(CONNECT_LIMIT_S)}
    try:
        url = URL.create(
            "postgresql+psycopg",
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            host=parts.hostname,
            port=parts.port,
            database=unquote(parts.path.lstrip("/")),
            query=options | dict(parse_qsl(parts.query)),
        )
        return create_engine(url, pool_pre_ping=True, execution_options={"postgresql_readonly": read_only})
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{address.text}: results in PostgreSQL need a driver ({error.name} is not installed): "
            "pip install 'iphone-load-harness[postgresql]'"
        ) from None
    except (ValueError, ArgumentError):
        # the errors' own words may hold the password
        raise UsageError(f"{address.text}: not a PostgreSQL URL (is the port a number?)") from None


# What a server says → what to do about it; the first that is found counts.
_REMEDIES = (
    ("password", "give the password in the URL, in PGPASSWORD or in ~/.pgpass"),
    ("pg_hba.conf", "the server does not let this user in from here: see its pg_hba.conf"),
    ("role", "is the user in the URL right? The database's owner makes one with createuser"),
    ("does not exist", "is the name in the URL right? The database's owner makes one with createdb"),
    ("permission denied", "ask the database's owner for the right: GRANT CREATE, USAGE ON SCHEMA, and on the tables"),
    ("read-only", "this server takes no writes; give the primary one"),
    ("", "is the server there, and can it be reached from here?"),
)


@contextmanager
def named(address: ResultsAddress) -> Iterator[None]:
    """Turns the driver's errors into StoreError with the database's name; a clash of ids stays what it is."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, sqlite3.DatabaseError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreError(f"{address.database}: {_words(address, cause)}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        # of a row's value: it is decoded while rows are fetched
        raise StoreError(
            f"{address.database}: a row holds JSON that cannot be read ({error}); it was written by another program or "
            "damaged"
        ) from error
    except (UnicodeEncodeError, OverflowError) as error:
        # of a value that is asked for: SQLite's driver says it before the database does
        raise StoreError(f"{address.database}: no database holds such a value ({error.args[-1]})") from error
    except PoolTimeout as error:
        raise StoreError(f"{address.database}: all connections of this process are in use: {error}") from error


def _words(address: ResultsAddress, cause: object) -> str:
    said = " ".join(str(cause).split())
    if address.url is None:
        return f"{said}; is it a results database, on a local disk, with space?"
    remedy = next(remedy for mark, remedy in _REMEDIES if mark in said)
    return f"{said}; {remedy}"

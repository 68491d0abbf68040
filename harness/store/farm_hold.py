"""One hub a database: a lock that goes with the process that holds it, however it ends.

Beside a SQLite file it is a locked file; in PostgreSQL an advisory lock of a connection of its own, which a restart
of the server lets go of.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from harness.store.connections import named
from harness.store.database import ResultStore
from harness.store.errors import StoreError

LOCK_NAME = ".farm.lock"
_NUMBER = 0x_4C_4F_46_41
"""First half of the advisory lock's key; the second is the schema's name: one database may hold several farms."""
_TAKE = text("SELECT pg_try_advisory_lock(:number, hashtext(current_schema()))").bindparams(number=_NUMBER)
_IS_OURS = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"
    " AND classid = :number AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
).bindparams(number=_NUMBER)
_LET_GO = text("SELECT pg_advisory_unlock(:number, hashtext(current_schema()))").bindparams(number=_NUMBER)
_WHOSE = text(
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory' AND granted"
    " AND classid = :number AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).bindparams(number=_NUMBER)
_NAME = text("SELECT set_config('application_name', :name, false)")
# The server's own end of the connection: the lock of a hub whose machine went without a word is free after a minute,
# and not after TCP's two hours.
_KEEP_ALIVE = text(
    "SELECT set_config('tcp_keepalives_idle', '20', false), set_config('tcp_keepalives_interval', '10', false),"
    " set_config('tcp_keepalives_count', '3', false)"
)
_MAX_NAME = 63
"""Characters of a name that PostgreSQL keeps."""
_PATIENCE_S = 1.0
"""A server takes a moment to see that the process that held the lock is gone."""
_PAUSE_S = 0.05


class Hold(Protocol):
    def is_held(self) -> bool:
        """Whether the lock is still ours."""


@contextmanager
def hold(store: ResultStore) -> Iterator[Hold]:
    """Holds the lock for the length of the block. Raises StoreError naming the process that has it already."""
    with _on_server(store) if store.address.url is not None else _beside_file(store) as held:
        yield held


class _FileHold:
    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def is_held(self) -> bool:
        # somebody who removed the file, or the folder, has let another hub in
        try:
            there = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))


@contextmanager
def _beside_file(store: ResultStore) -> Iterator[Hold]:
    path = store.folder / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refused(store, os.pread(descriptor, _MAX_NAME, 0).decode(errors="replace").strip()) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _own_name().encode(), 0)
        yield _FileHold(path, descriptor)
    finally:
        os.close(descriptor)


class _ServerHold:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()
        self._held = True

    def is_held(self) -> bool:
        with self._one_at_a_time:
            if self._held:
                try:
                    self._held = bool(self._connection.execute(_IS_OURS).scalar())
                except DBAPIError:
                    # the connection is gone, and the lock with it: another hub may have been there since
                    self._held = False
            return self._held


@contextmanager
def _on_server(store: ResultStore) -> Iterator[Hold]:
    with named(store.address):
        connection = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with named(store.address):
            latest = time.monotonic() + _PATIENCE_S
            while not connection.execute(_TAKE).scalar():
                if time.monotonic() > latest:
                    raise _refused(store, str(connection.execute(_WHOSE).scalar() or ""))
                time.sleep(_PAUSE_S)
            connection.execute(_NAME, {"name": _own_name()})
            connection.execute(_KEEP_ALIVE)
        yield _ServerHold(connection)
    finally:
        with suppress(SQLAlchemyError):
            # said, and not left to the connection's end, which the server sees a moment later
            connection.execute(_LET_GO)
        with suppress(SQLAlchemyError):
            # it has another name than the pool's, and maybe still the lock
            connection.invalidate()
        connection.close()


def _own_name() -> str:
    return f"harness farm hub {os.getpid()} on {socket.gethostname()}"[:_MAX_NAME]


def _refused(store: ResultStore, who: str) -> StoreError:
    return StoreError(
        f"{store.address.text}: another hub has it ({who or 'which does not say its name'}): one farm, one hub, one "
        "database; end that one, or give this one --results of its own"
    )

"""A real PostgreSQL server for the tests that want one: `postgresql_url` is a fresh database of it.

The server is the session's own: made by initdb in a temporary folder, on a free port of the loopback, with a password.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_LIMIT_S = 120
USER = "tester"
BINARIES = Path("/usr/lib/postgresql")
"""Where Debian has them, a folder a version; elsewhere they are found on the PATH."""


@dataclass
class PostgresqlServer:
    """A running server, and what can be done to it."""

    binaries: Path
    folder: Path
    port: int
    password: str

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty one, that sorts text as a person would and not by code points."""
        name = f"results_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
        return self.url(name)

    def sql(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def start(self) -> None:
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self.control("start", "-w", "-t", str(START_LIMIT_S), "-l", str(self.folder / "log"), "-o", f"{options} -F")

    def stop(self) -> None:
        self.control("stop", "-m", "immediate")

    def control(self, *arguments: str) -> None:
        run_as_owner(self.binaries / "pg_ctl", "-D", self.folder / "data", *arguments)


def run_as_owner(*command: object) -> None:
    """The server refuses to run as root: then its files and processes are another user's."""
    subprocess.run(
        [str(word) for word in command],
        user=_other_user(),
        extra_groups=[] if os.geteuid() == 0 else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=START_LIMIT_S,
    )


def _other_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def find_binaries() -> Path | None:
    newest = sorted(BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = newest[-1] if newest else shutil.which("initdb")
    return None if found is None else Path(found).parent


@contextmanager
def watchman(server: PostgresqlServer) -> Iterator[None]:
    """Stops the server if this process dies before it does so itself: the watchman's standard input ends with us."""
    stop = 'read -r word; [ "$word" = ended ] || { "$0" -D "$1" -m immediate stop; rm -rf "$2"; }'
    watching = subprocess.Popen(
        ["/bin/sh", "-c", stop, server.binaries / "pg_ctl", server.folder / "data", server.folder],
        user=_other_user(),
        extra_groups=[] if os.geteuid() == 0 else None,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # what ends this process from a terminal must not end the watchman too
        start_new_session=True,
    )
    try:
        yield
    finally:
        watching.communicate(b"ended\n", timeout=START_LIMIT_S)


@contextmanager
def running_server() -> Iterator[PostgresqlServer]:
    """A new server, ended and removed with the block. Raises FileNotFoundError where none is installed."""
    binaries = find_binaries()
    if binaries is None:
        raise FileNotFoundError("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = PostgresqlServer(binaries, folder, free.getsockname()[1], secrets.token_hex(8))
        (folder / "password").write_text(server.password)
        if (user := _other_user()) is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        run_as_owner(
            binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256",
            "--pwfile", folder / "password", "--no-sync", "--encoding=UTF8", "--no-locale",
        )  # fmt: skip  # an option and its value belong together
        with watchman(server):
            server.start()
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Started at the first test that asks for it; such tests are skipped where there is no server to start."""
    if find_binaries() is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    with running_server() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> str:
    """`postgresql://…` of an empty database of this test; give it a folder with `files=` in its query."""
    return postgresql_server.new_database()

"""Who runs a trial, so that the trials of a dead process can be told from those of a living one.

A process that runs trials holds a lock on a file of its own. The kernel lets go of it when the process ends, however
it ends; a reused process id therefore cannot pass for the old process, nor one of another container. `flock` and
not `lockf`: two stores of one process must see each other's locks too.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ".owners"
PLACE_FILE = ".place"
PLACE_LOCK = ".place.lock"
_TOKEN = re.compile(r"[0-9a-f]{32}\Z")


class Owner:
    """A held lock; `token` is its name in the database."""

    def __init__(self, token: str, path: Path, descriptor: int) -> None:
        self.token = token
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, results: Path) -> Owner:
        """Makes and locks a new file under the results folder."""
        folder = results / FOLDER
        folder.mkdir(exist_ok=True)
        token = uuid.uuid4().hex
        path = folder / token
        # locked before any row names the token, so nobody can find it unlocked
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(token, path, descriptor)

    def release(self) -> None:
        """Lets go; whatever still names the token is now a dead owner's."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextmanager
def dead_owner(results: Path, token: str) -> Iterator[bool]:
    """Whether the owner is dead. While the block runs, no other process is told so: one salvages, the rest pass by.

    Raises StoreError for a token that no harness has made: it is the name of a file that is made, locked and removed.
    """
    if not _TOKEN.match(token):
        raise StoreError(
            f"{results}: table claims names the owner {token[:80]!r}, which is the name of no lock: it was written by "
            "another program or damaged; remove the row, and the trial's own"
        )
    folder = results / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / token
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def place_id(results: Path) -> str:
    """The folder's own id, made at the first call: a central database is told by it whose files are where."""
    path = results / PLACE_FILE
    with exclusive(results / PLACE_LOCK):
        if not path.exists():
            # by way of another name: one that is killed here leaves no empty id
            new = results / f"{PLACE_FILE}.new"
            new.write_text(uuid.uuid4().hex, encoding="ascii")
            new.replace(path)
        return path.read_text(encoding="ascii")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Waits for and holds a lock on `path`: for the short work that only one process may do at a time."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

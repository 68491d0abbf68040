"""Unix sockets at paths of any length: a socket's address holds 108 bytes, a phone's home may lie deeper.

The folder is opened, and the socket is named through it (`/proc/self/fd`), which is always short. Linux only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def _short(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def bind(path: Path) -> socket.socket:
    """A socket bound at `path`, not yet listening; raises OSError."""
    bound = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as short:
            bound.bind(short)
    except OSError:
        bound.close()
        raise
    return bound


def connect(path: Path, limit_s: float) -> socket.socket:
    """A connection to the socket at `path`, with a limit for each later wait; raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(limit_s)
    try:
        with _short(path) as short:
            connection.connect(short)
    except OSError:
        connection.close()
        raise
    return connection

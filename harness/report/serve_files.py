"""Files that may be given out: the site's, and those that a record names as its own. No link is ever followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select

from harness.core.record import TrialState
from harness.store.database import ResultStore
from harness.store.schema import TRIAL_ID, trials

TELEMETRY, ARTIFACTS = "telemetry", "artifacts"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""What a browser may show; everything else is saved."""
PLAIN = "application/octet-stream"


def media_type(name: str) -> str:
    """By the name's suffix."""
    return _TYPES.get(Path(name).suffix, PLAIN)


def open_below(folder: Path, names: Sequence[str]) -> BinaryIO | None:
    """A regular file below `folder`; None where there is none, or a link is on the way to it."""
    if not names or any(name in ("", ".", "..") or "/" in name or "\0" in name for name in names):
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    for position, name in enumerate(names):
        last = position == len(names) - 1
        try:
            found = os.open(name, flags if last else flags | os.O_DIRECTORY, dir_fd=here)
        except OSError:
            return None
        finally:
            os.close(here)
        here = found
    if not stat.S_ISREG(os.fstat(here).st_mode):
        os.close(here)
        return None
    return os.fdopen(here, "rb")


def claimed(store: ResultStore, parts: Sequence[str]) -> bool:
    """Whether a done trial's record names this file, or the folder it lies in, as its own. Raises StoreError."""
    if len(parts) == 2 and parts[0] == TELEMETRY:
        column, named = trials.c.telemetry_file, f"{TELEMETRY}/{parts[1]}"
    elif len(parts) > 2 and parts[0] == ARTIFACTS:
        column, named = trials.c.artifacts_dir, f"{ARTIFACTS}/{parts[1]}"
    else:
        return False
    query = select(trials.c.trial_id).where(
        column == named, trials.c.state == TrialState.DONE.value, trials.c.files_removed_at.is_(None)
    )
    stem = parts[1].removesuffix(".parquet")
    with store.reading() as connection:
        # nearly always the trial's own id: no look at all the others
        if TRIAL_ID.match(stem) and connection.execute(query.where(trials.c.trial_id == stem)).first():
            return True
        return connection.execute(query.limit(1)).first() is not None

"""Which runs have a living process: whoever runs one holds a lock beside the results (`bench.resume`).

To see whether a lock is held it has to be tried, and whoever holds it for that instant is in the way of a run that is
to go on. So a file that is still empty is not tried (its maker is about to lock it), and one that was found free is not
tried again until somebody has written into it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from harness.bench.resume import LOCKS_FOLDER
from harness.bench.run_note import RUN_ID
from harness.device.lease import MAX_LOCKS, SUFFIX

_Version = tuple[int, int, int]


class RunLocks:
    """Of one results folder; keeps what it has found out."""

    def __init__(self, results: Path) -> None:
        self._folder = results / LOCKS_FOLDER
        self._free: dict[str, _Version] = {}

    def look(self) -> dict[str, bool]:
        """Run id → whether a process holds its lock. False: it was killed. A run that let go in order is not there."""
        try:
            names = sorted(one.name for one in os.scandir(self._folder) if one.name.endswith(SUFFIX))
        except OSError:
            return {}
        # the newest ones: ids sort by time, and a run that was killed leaves its file
        runs = [name.removesuffix(SUFFIX) for name in names[-MAX_LOCKS:]]
        states = {run_id: self._held(run_id) for run_id in runs if RUN_ID.fullmatch(run_id)}
        return {run_id: held for run_id, held in states.items() if held is not None}

    def _held(self, run_id: str) -> bool | None:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._folder / f"{run_id}{SUFFIX}", flags)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return None
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._free.get(run_id) == version:
                return False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            self._free[run_id] = version
            return False
        finally:
            os.close(descriptor)

"""Where a phone keeps its things between runs, and that no two phones share one home."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

SLOTS_LIMIT = 256
FOLDERS = ("Media/DCIM", "Media/Downloads", "Media/PublicStaging", "CrashReports", "log", "usbmux")


class HomeTaken(Exception):
    """Another phone lives there, or every slot is in use."""


@dataclass(frozen=True)
class Home:
    """A directory that is locked for as long as `lock_fd` stays open. `identity` is what the phone's UDID follows."""

    path: Path
    identity: str
    lock_fd: int

    def release(self) -> None:
        """Lets another phone in."""
        os.close(self.lock_fd)


def open_home(profile: str, path: Path | None) -> Home:
    """The given directory, or the first free slot of the profile in the user's state directory; HomeTaken."""
    if path is not None:
        path = path.resolve()
        lock_fd = _lock(path)
        if lock_fd is None:
            raise HomeTaken(f"another virtual phone lives in {path}: end it, or give another --home")
        return _furnish(Home(path, f"{profile}/{path}", lock_fd))
    root = platformdirs.user_state_path("iphone-load-harness") / "virtual" / profile
    for slot in range(1, SLOTS_LIMIT + 1):
        lock_fd = _lock(root / str(slot))
        if lock_fd is not None:
            return _furnish(Home(root / str(slot), f"{profile}/{slot}", lock_fd))
    raise HomeTaken(f"all {SLOTS_LIMIT} slots of {profile} under {root} are in use")


def _lock(path: Path) -> int | None:
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _furnish(home: Home) -> Home:
    for folder in FOLDERS:
        (home.path / folder).mkdir(parents=True, exist_ok=True)
    return home

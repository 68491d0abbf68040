"""Locks that all processes and users of a host agree on: one lease a phone, one push a USB root hub.

A lock is `flock` on a file in one shared folder. The kernel lets go of it when its holder ends, however it ends, so
nothing here ever guesses whether a process still lives; the file's text only tells people who holds it. A holder that
lets go empties the file: text in a file that nobody holds is that of one that was killed.

Any user of the host can write into the folder, so no symbolic link in it is followed, only plain files with one name
are opened, and a file's text is bounded, checked and printable before anybody sees it. A lock keeps friends apart; it
is no wall against a user who means harm. `flock` is not passed over NFS by every system: the folder is a local one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import DeviceError, HarnessError
from harness.device.lock_holder import Holder, read_holder, write_holder

FOLDER_VARIABLE = "IPHONE_LOAD_HARNESS_LOCKS"
# not the user's own temporary folder, which macOS gives each user one of
DEFAULT_FOLDER = Path("/tmp/iphone-load-harness-locks")  # noqa: S108  # shared by all users of a host; opened without following links
SUFFIX = ".lock"
MAX_LOCKS = 1024
"""Files of the folder that are looked at; more is somebody's mistake."""
POLL_S = 0.1
REMIND_S = 300.0
# `held` takes a lock for an instant to see whether it is free; one failed try alone therefore proves nothing.
TRIES_AT_LEAST = 3
MAX_TOLD = 4
"""Locks that are named in one line."""

Tell = Callable[[str], None]
"""Takes a line for the person who waits."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")
_UDID = re.compile(r"[0-9a-fA-F-]{1,64}\Z")


class LockBusy(DeviceError):
    """Somebody else has it, and did not let go in time."""

    def __init__(self, text: str, holder: Holder | None) -> None:
        super().__init__(text)
        self.holder = holder


class LocksUnusable(HarnessError):
    """The folder of the locks, or a file in it, is not what it must be."""


@dataclass(frozen=True)
class HeldLock:
    """A lock that some process holds now; `holder` None: its file does not say who."""

    name: str
    holder: Holder | None


class HostLock:
    """A lock of ours, until `release` or the end of the process."""

    def __init__(self, name: str, path: Path, descriptor: int, took_over: Holder | None) -> None:
        self.name = name
        self.took_over = took_over
        """Who had it before and ended without letting go."""
        self._path = path
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Lets go; again is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # the lock is what counts, its text and its file are housekeeping
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            # in a sticky folder only the file's maker may; whoever has it open sees that it lost its name
            self._path.unlink(missing_ok=True)
        os.close(descriptor)


class LockFolder:
    """The folder in which a host's locks are files; `LockFolder.shared()` is the one to use for what a host has.

    `private`: of one user's own files; nobody else may write there, and so hold up what is his alone.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self.path = path
        self._folder_mode, self._file_mode = (0o700, 0o600) if private else (0o1777, 0o666)

    @classmethod
    def shared(cls) -> LockFolder:
        """What `IPHONE_LOAD_HARNESS_LOCKS` names, or the folder that all users of this host share."""
        named = os.environ.get(FOLDER_VARIABLE)
        return cls(Path(named) if named else DEFAULT_FOLDER)

    def try_take(self, name: str, purpose: str) -> HostLock | None:
        """The lock, or None while somebody else holds it. Raises LocksUnusable."""
        path = self._path_of(name)
        self._make()
        while True:
            descriptor = self._open(path)
            try:
                if not _flock(descriptor):
                    os.close(descriptor)
                    return None
                if not _still_named(path, descriptor):
                    # its holder let go and took the file away between our opening and locking it
                    os.close(descriptor)
                    continue
                left_by = read_holder(descriptor)
                write_holder(descriptor, purpose)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
                raise
            return HostLock(name, path, descriptor, left_by)

    def holder(self, name: str) -> Holder | None:
        """What the lock's file says; None when it says nothing that makes sense. Does not look whether it is held."""
        with contextlib.suppress(OSError, LocksUnusable), self._reading(self._path_of(name)) as descriptor:
            return read_holder(descriptor)
        return None

    def held(self) -> list[HeldLock]:
        """The locks that are held now, by name. Empty when there is no folder; files that are no locks are left out."""
        found = []
        try:
            names = sorted(entry.name for entry in os.scandir(self.path) if entry.name.endswith(SUFFIX))
        except OSError:
            return []
        for name in (name.removesuffix(SUFFIX) for name in names[:MAX_LOCKS]):
            if not _NAME.match(name):
                continue
            with contextlib.suppress(OSError, LocksUnusable), self._reading(self._path_of(name)) as descriptor:
                if not _flock(descriptor, fcntl.LOCK_SH):
                    found.append(HeldLock(name, read_holder(descriptor)))
        return found

    def _path_of(self, name: str) -> Path:
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is no name of a lock")
        return self.path / f"{name}{SUFFIX}"

    def _make(self) -> None:
        """The shared one for all users, and sticky: nobody removes another's file."""
        try:
            self.path.mkdir(mode=0o700)
            self.path.chmod(self._folder_mode)
        except FileExistsError:
            if not stat.S_ISDIR(self.path.lstat().st_mode):
                raise self._unusable("is not a folder") from None
        except OSError as error:
            raise self._unusable(f"cannot be made: {error.strerror}") from error

    def _open(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        while True:
            try:
                # without O_CREAT: in a sticky folder Linux refuses it on another user's file
                return _plain(path, os.open(path, flags))
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    return self._create(path, flags)
            except OSError as error:
                raise self._unusable(f"has {path.name}, which cannot be used: {_why(error)}") from error

    def _create(self, path: Path, flags: int) -> int:
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, self._file_mode)
        except FileExistsError:
            raise
        except OSError as error:
            raise self._unusable(f"takes no file: {error.strerror}") from error
        # whatever the umask: the next holder may be another user
        os.fchmod(descriptor, self._file_mode)
        return descriptor

    @contextmanager
    def _reading(self, path: Path) -> Iterator[int]:
        descriptor = _plain(path, os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _unusable(self, why: str) -> LocksUnusable:
        remedy = f"Remove it, or name another folder, the same for all users of this host, in {FOLDER_VARIABLE}"
        return LocksUnusable(f"the folder of the locks {self.path} {why}. {remedy}")


@asynccontextmanager
async def host_lock(
    name: str,
    *,
    subject: str,
    purpose: str,
    wait_s: float,
    tell: Tell,
    remedy: str = "",
    folder: LockFolder | None = None,
) -> AsyncIterator[HostLock]:
    """Holds the lock `name` for the length of the `async with`; waits up to `wait_s` for it (0: only tries).

    `subject` is what it stands for (`USB hub 1-2`), `purpose` what others are told that we do with it. `tell` gets a
    line when the waiting begins and rarely after, and one when the last holder had been killed. Raises LockBusy.
    """

    async def only_one() -> Mapping[str, str]:
        return {name: subject}

    lock = await take_first(only_one, Waiting(purpose, wait_s, tell, remedy), folder)
    try:
        yield lock
    finally:
        lock.release()


@dataclass(frozen=True)
class Waiting:
    """How to wait for a lock; see `host_lock`."""

    purpose: str
    wait_s: float
    tell: Tell
    remedy: str = ""


async def take_first(
    candidates: Callable[[], Awaitable[Mapping[str, str]]], waiting: Waiting, folder: LockFolder | None = None
) -> HostLock:
    """Whichever lock is free first, in the order of `candidates`: name and subject of each, asked before each look.

    Raises LockBusy naming who holds them, and whatever `candidates` raises.
    """
    folder = folder or LockFolder.shared()
    clock = asyncio.get_running_loop().time
    began = next_word = clock()
    tries = 0
    while True:
        wanted = await candidates()
        for name, subject in wanted.items():
            lock = folder.try_take(name, waiting.purpose)
            if lock is not None:
                if lock.took_over is not None:
                    waiting.tell(f"{subject}: took over from {lock.took_over.text}, which ended without letting go")
                return lock
        tries += 1
        waited_s = clock() - began
        if tries >= TRIES_AT_LEAST:
            if waited_s >= waiting.wait_s:
                raise _busy(wanted, waiting, folder)
            if clock() >= next_word:
                left_s = waiting.wait_s - waited_s
                waiting.tell(f"{_in_use(wanted, folder)}; waiting up to {left_s:.0f} s for it")
                next_word = clock() + REMIND_S
        await asyncio.sleep(POLL_S)


def _busy(wanted: Mapping[str, str], waiting: Waiting, folder: LockFolder) -> LockBusy:
    waited = f"; waited {waiting.wait_s:g} s" if waiting.wait_s else ""
    remedy = f". {waiting.remedy}" if waiting.remedy else ""
    holder = next((holder for holder in map(folder.holder, wanted) if holder is not None), None)
    return LockBusy(f"{_in_use(wanted, folder)}{waited}{remedy}", holder)


def _in_use(wanted: Mapping[str, str], folder: LockFolder) -> str:
    if not wanted:
        return "what was to be locked is not there any more"
    told = []
    for name, subject in list(wanted.items())[:MAX_TOLD]:
        holder = folder.holder(name)
        told.append(f"{subject} is in use by {holder.text if holder else 'a process that left no word of itself'}")
    more = len(wanted) - len(told)
    return "; ".join(told) + (f"; and {more} more are in use" if more else "")


def phone_lock(udid: str) -> str:
    """The name of a phone's lock. Some usbmuxd drop the UDID's dash, so the name has none.

    What is no UDID is hashed: it comes from usbmuxd, and must become a file's name.
    """
    if _UDID.match(udid):
        return f"phone-{udid.replace('-', '').lower()}"
    return f"phone-{hashlib.sha256(udid.encode(errors='surrogateescape')).hexdigest()}"


def who_holds(folder: LockFolder | None = None) -> dict[str, Holder | None]:
    """Name of each held lock (`phone_lock(udid)` for a phone), and who holds it."""
    return {held.name: held.holder for held in (folder or LockFolder.shared()).held()}


def _plain(path: Path, descriptor: int) -> int:
    """The descriptor of a plain file with one name; anything else is closed and refused."""
    status = os.fstat(descriptor)
    # a second name could be that of a file elsewhere, which we would overwrite
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no plain file", str(path))


def _why(error: OSError) -> str:
    return "it is a symbolic link" if error.errno in (errno.ELOOP, errno.EMLINK) else str(error.strerror)


def _flock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_named(path: Path, descriptor: int) -> bool:
    try:
        named = path.lstat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

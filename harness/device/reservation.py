"""A phone of this host kept for a person for some hours: a small file beside the locks, for all users of the host.

    <locks>/phone-<udid>.<uid>.reserved

It is the user's whose it is by the file's owner, whatever its text says, so nobody can reserve in another's name or let
go for him. As with the locks no symbolic link is followed, only plain files with one name are read, and the text is
bounded, checked and printable. One that has ended counts as none. A reservation keeps friends apart; it is no wall.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core.errors import UsageError
from harness.core.text import printable
from harness.device.lease import LockBusy, LockFolder, LocksUnusable, phone_lock

MAX_S = 30 * 86400.0
"""A month; what is kept longer is no reservation but a phone that is not in the pool."""
MAX_FILE_BYTES = 4096
MAX_FILES = 1024
"""Files of the folder that are looked at."""
CLOCK_S = 60.0
"""A reservation is made now; the clock may have been put back a little since."""
MAX_REASON = 200
"""Characters."""
_NAME = re.compile(r"(phone-[0-9a-f]{1,64})\.(\d{1,10})\.reserved\Z")
_TURN = "reservations"
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|m|h|d)\Z")
_UNIT_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class PhoneReserved(LockBusy):
    """A person keeps the phone for himself."""


class Reservation(BaseModel):
    """As it is kept; `user` and `reason` are only as true as whoever wrote them, the uid is the file's owner's."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    udid: str = Field(min_length=1, max_length=100, pattern=r"^[0-9A-Fa-f-]+$")
    user: str = Field(min_length=1, max_length=64)
    uid: int = Field(ge=0, lt=2**32)
    host: str = Field(max_length=255)
    since: str = Field(max_length=40)
    """UTC, ISO 8601; as is `until`."""
    until: str = Field(max_length=40)
    reason: str = Field(default="", max_length=MAX_REASON)

    @property
    def ends(self) -> datetime:
        """UTC. Raises ValueError for a text that is no time, OverflowError for one beyond all years."""
        at = datetime.fromisoformat(self.until)
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)

    @property
    def is_ours(self) -> bool:
        """Whether the user of this process has made it."""
        return self.uid == os.getuid()

    @property
    def text(self) -> str:
        """`ann@bench until 2026-11-22 18:20 UTC (why)`, safe to print."""
        why = f" ({self.reason})" if self.reason else ""
        words = f"{self.user}@{self.host} until {self.ends.astimezone(UTC):%Y-%m-%d %H:%M} UTC{why}"
        return " ".join(printable(words).split())


def parse_duration(text: str, flag: str) -> float:
    """Seconds of `90min`, `2h`, `1.5d`. Raises UsageError naming the flag."""
    match = _DURATION.match(text.strip())
    seconds = 0.0 if match is None else float(match[1]) * _UNIT_S[match[2]]
    if not 0 < seconds <= MAX_S:
        raise UsageError(f"{flag}={text[:100]}: it is as 45min, 2h or 1d, and at most {MAX_S / 86400:.0f} days")
    return seconds


class Reservations:
    """Those of this host; `Reservations.shared()` is the one to use."""

    def __init__(self, folder: LockFolder) -> None:
        self._folder = folder

    @classmethod
    def shared(cls) -> Reservations:
        """Beside the locks that all users of this host share."""
        return cls(LockFolder.shared())

    def of(self, udid: str) -> Reservation | None:
        """Who keeps the phone now; None: nobody."""
        name = phone_lock(udid)
        # whatever else somebody has put into the folder does not hide it
        return self._found(f"{name}.").get(name)

    def all(self) -> dict[str, Reservation]:
        """By the name of the phone's lock; of several for one phone the one that was made first."""
        return self._found("")

    def _found(self, begin: str) -> dict[str, Reservation]:
        found: dict[str, Reservation] = {}
        now = datetime.now(UTC)
        for path, name, uid in self._files(begin):
            one = _read(path, name, uid)
            if one is not None and now < one.ends and (name not in found or one.since < found[name].since):
                found[name] = one
        return found

    def check(self, udid: str) -> None:
        """Raises PhoneReserved when another user keeps the phone."""
        one = self.of(udid)
        if one is not None and not one.is_ours:
            raise PhoneReserved(
                f"phone {udid} is reserved by {one.text}. Use another phone, or wait until then; only {one.user} can "
                f"let it go (harness devices release {one.udid})",
                None,
            )

    def reserve(self, udid: str, for_s: float, reason: str = "") -> Reservation:
        """Keeps the phone for the user of this process, from now on; one of his own is replaced.

        Raises PhoneReserved while another user keeps it, LocksUnusable when the folder takes no file.
        """
        name = phone_lock(udid)
        now = datetime.now(UTC)
        made = Reservation(
            udid=udid,
            user=_user()[:64],
            uid=os.getuid(),
            host=socket.gethostname()[:255],
            since=now.isoformat(timespec="milliseconds"),
            until=(now + timedelta(seconds=for_s)).isoformat(timespec="seconds"),
            reason=printable(" ".join(reason.split()))[:MAX_REASON],
        )
        with self._turn():
            self.check(udid)
            path = self._path(name)
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            try:
                # exclusively: whatever has that name already is not ours to write to
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    # whatever the umask: other users must be able to read it
                    os.fchmod(file.fileno(), 0o644)
                    file.write(made.model_dump_json() + "\n")
                part.replace(path)
            except OSError as error:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                raise LocksUnusable(f"the reservation {path} cannot be written: {error.strerror}") from error
        return made

    def release(self, udid: str) -> Reservation | None:
        """Lets the phone go; what was kept, or None when nobody had it. Raises PhoneReserved for another user's."""
        name = phone_lock(udid)
        with self._turn():
            self.check(udid)
            path = self._path(name)
            found = _read(path, name, os.getuid())
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return found

    def _path(self, name: str) -> Path:
        return self._folder.path / f"{name}.{os.getuid()}.reserved"

    def _files(self, begin: str) -> list[tuple[Path, str, int]]:
        try:
            with os.scandir(self._folder.path) as entries:
                matches = [_NAME.match(entry.name) for entry in entries if entry.name.startswith(begin)]
        except OSError:
            return []
        files = sorted((match[0], match[1], int(match[2])) for match in matches if match is not None)
        return [(self._folder.path / file, name, uid) for file, name, uid in files[:MAX_FILES]]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Two users do not both find a phone free."""
        until = time.monotonic() + 5.0
        while (lock := self._folder.try_take(_TURN, "a reservation")) is None:
            if time.monotonic() > until:
                raise LockBusy("another process is at the reservations of this host; try again", None)
            time.sleep(0.05)
        try:
            yield
        finally:
            lock.release()


def _read(path: Path, name: str, uid: int) -> Reservation | None:
    """The reservation; None for a file that is not that user's, no plain one, or makes no sense."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != uid:
                return None
            found = Reservation.model_validate_json(file.read(MAX_FILE_BYTES))
        since = datetime.fromisoformat(found.since)
        length_s = (found.ends - since).total_seconds()
        # one that begins later would end later than any may
        later_s = (since - datetime.now(UTC)).total_seconds()
    except (OSError, ValidationError, ValueError, TypeError, OverflowError):
        return None
    fits = found.uid == uid and phone_lock(found.udid) == name
    return found if fits and length_s <= MAX_S + 1 and later_s <= CLOCK_S else None


def _user() -> str:
    """By the uid and not by the environment, which anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name or str(os.getuid())
    except KeyError:
        return str(os.getuid())

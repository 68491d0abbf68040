"""Fetches model files that have a digest: over https, resumed where the server allows it, checked while they arrive.

May know the network and the user's cache folder; knows neither suites nor phones. A file gets its name only once its
digest is the one asked for, so whatever lies in the folder under a digest is that file.

    <models>/<sha256>/<file name>    the file
    <models>/<sha256>.part/          what has arrived of it, and what the server said of it; gone once the file is there
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.bench.fetch_http import Answer, Body, Cut, FetchError, Server
from harness.core.errors import UsageError
from harness.core.units import ByteCount, format_bytes
from harness.store.owner import exclusive

CHUNK_BYTES = 1 << 20
WORK_ENDING = ".part"
# Larger than any model for a phone: what claims more is not one.
MAX_MODEL_BYTES = 64 << 30
# What stays free on this machine's disk beside the file.
RESERVE_BYTES = 256 << 20
# The disk's room is looked at again after so much, also where the server tells no size.
ROOM_EVERY_BYTES = 64 << 20
# Connections in a row that bring not one byte.
MAX_FRUITLESS = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
MAX_NOTE_BYTES = 4096

Progress = Callable[[str, int, int], None]
"""What is done, bytes done, bytes in all."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Wanted:
    """A file to be fetched. Raises UsageError for an address that is not https, or a digest that is none."""

    url: str
    sha256: str
    source: str | None = None
    """Where a person gets it, should the address want a licence to be agreed to first."""
    licence: str | None = None

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise UsageError(f"{self.sha256[:80]!r} is no SHA-256 digest: 64 hex digits, in lower case")
        try:
            parts = urlsplit(self.url)
        except ValueError as error:
            raise UsageError(f"{self.url[:200]!r}: no address: {error}") from error
        if parts.scheme != "https" or not parts.hostname:
            raise UsageError(f"{self.url[:200]!r}: an https:// address is needed")

    @property
    def file_name(self) -> str:
        """The address' last part, reduced to plain letters: it becomes a file's name."""
        last = unquote(urlsplit(self.url).path).rpartition("/")[2]
        return _NOT_PLAIN.sub("-", last).strip(".-")[-128:] or "model"


@dataclass(frozen=True)
class _Validator:
    """What the server said of the file that the part is of; a part of another file is of no use."""

    url: str
    etag: str | None
    total_bytes: int | None


def find_fetched(models: Path, sha256: str) -> Path | None:
    """The file with that digest, if it was fetched whole."""
    folder = models / sha256
    if not _SHA256.fullmatch(sha256) or not folder.is_dir():
        return None
    # a file manager may have left a file of its own there
    found = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return next(found, None)


def fetch(
    wanted: Wanted, models: Path, progress: Progress, *, pause: Callable[[float], None] = time.sleep
) -> tuple[Path, bool]:
    """The file in `models`, and whether it had to be fetched. Goes on with what an earlier fetch left.

    Raises UsageError when asking again will not help (no such file, a licence gate, another digest than asked for),
    FetchError when the network, the server or this machine's disk is in the way.
    """
    found = find_fetched(models, wanted.sha256)
    if found is not None:
        return found, False
    work = models / f"{wanted.sha256}{WORK_ENDING}"
    try:
        work.mkdir(parents=True, exist_ok=True)
        # two fetches of one file would write into the same part
        with exclusive(work / "lock"):
            found = find_fetched(models, wanted.sha256)
            if found is not None:
                return found, False
            part = _Fetch(wanted, work, progress, pause).run()
            target = models / wanted.sha256 / wanted.file_name
            target.parent.mkdir(exist_ok=True)
            part.replace(target)
            # who waits for the lock in it finds the file
            shutil.rmtree(work)
            return target, True
    except OSError as error:
        raise FetchError(f"{models}: {error.strerror or error}") from error


class _Fetch:
    """One file on its way."""

    def __init__(self, wanted: Wanted, work: Path, progress: Progress, pause: Callable[[float], None]) -> None:
        self._wanted = wanted
        self._part = work / "data"
        self._note = work / "validator.json"
        self._progress = progress
        self._pause = pause
        self._digest = hashlib.sha256()
        self._done_bytes = 0
        self._most_bytes = 0
        self._resumed = False
        self._fruitless = 0

    def run(self) -> Path:
        """The part, whole and with the right digest."""
        self._take_up_part()
        # an earlier fetch may have been ended when all was there
        if self._is_wanted():
            return self._part
        with Server() as server:
            self._receive_all(server)
            if not self._is_wanted() and self._resumed:
                # the server may have put another file there since, and said nothing: once more from the start
                self._start_again()
                self._receive_all(server)
        if not self._is_wanted():
            self._throw_away()
            raise UsageError(
                f"{self._wanted.url}: the file there has the digest {self._digest.hexdigest()}, not "
                f"{self._wanted.sha256}; thrown away. The publisher may have replaced it: find out which is meant"
            )
        return self._part

    def _is_wanted(self) -> bool:
        return self._digest.hexdigest() == self._wanted.sha256

    def _receive_all(self, server: Server) -> None:
        while not self._attempt(server):
            pass

    def _take_up_part(self) -> None:
        """Reads what an earlier fetch left into the digest."""
        validator = self._validator()
        if validator is None or validator.url != self._wanted.url or not self._part.is_file():
            self._throw_away()
            return
        size = self._part.stat().st_size
        with self._part.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self._digest.update(chunk)
                self._done_bytes += len(chunk)
                self._progress(f"digest {self._wanted.file_name}", ByteCount(self._done_bytes), ByteCount(size))
        self._resumed = self._done_bytes > 0

    def _attempt(self, server: Server) -> bool:
        """One connection; True: the file is there. A connection that was cut is taken up again by the next."""
        before = self._done_bytes
        self._most_bytes = max(self._most_bytes, before)
        validator = self._validator() if before else None
        try:
            with server.get(self._wanted.url, before, validator.etag if validator else None) as body:
                self._check(body.answer, validator)
                self._receive(body)
            return True
        except Cut as error:
            # against the most that ever was there: who begins anew each time would else go on for ever
            self._fruitless = 0 if self._done_bytes > self._most_bytes else self._fruitless + 1
            if self._fruitless >= MAX_FRUITLESS:
                raise FetchError(
                    f"{self._wanted.url}: {error}; given up after {self._fruitless} connections with nothing new. What "
                    f"has arrived ({format_bytes(self._done_bytes)}) is kept: fetch again to go on"
                ) from error
            wait = error.retry_after_s or FIRST_PAUSE_S * 2**self._fruitless
            self._pause(min(wait, LONGEST_PAUSE_S))
            return False

    def _check(self, answer: Answer, validator: _Validator | None) -> None:
        """Makes the part fit the answer. Raises UsageError or FetchError when nothing can come of it."""
        if answer.status in (401, 403):
            raise UsageError(self._gate(answer.status))
        if answer.status in (404, 410):
            raise UsageError(f"{self._wanted.url}: the server has no such file (HTTP {answer.status})")
        replaced = validator is not None and None not in (validator.etag, answer.etag) and validator.etag != answer.etag
        if answer.status == 416 or (answer.status == 206 and (replaced or answer.begin != self._done_bytes)):
            # our part is as long as the file or longer, or the server begins elsewhere: it cannot be gone on with
            if not self._done_bytes:
                raise FetchError(f"{self._wanted.url}: the server offers a part of the file that was not asked for")
            self._start_again()
            raise Cut(f"the server cannot go on (HTTP {answer.status})")
        if answer.status not in (200, 206):
            raise FetchError(f"{self._wanted.url}: the server answers HTTP {answer.status}")
        if answer.status == 200 and self._done_bytes:
            self._start_again()
        if answer.total_bytes is not None:
            self._make_sure_of_room(answer.total_bytes)
        self._note.write_text(json.dumps(asdict(_Validator(self._wanted.url, answer.etag, answer.total_bytes))))

    def _gate(self, status: int) -> str:
        where = self._wanted.source or f"the page of {urlsplit(self._wanted.url).hostname} that offers it"
        licence = f" Its licence: {self._wanted.licence}." if self._wanted.licence else ""
        return (
            f"{self._wanted.url}: not without permission (HTTP {status}).{licence} Agree to it and get the "
            f"file by hand from {where}, then give the suite's model a `path` instead of the `url`"
        )

    def _make_sure_of_room(self, total_bytes: int) -> None:
        if total_bytes > MAX_MODEL_BYTES:
            raise FetchError(f"{self._wanted.url}: claims {format_bytes(total_bytes)}; no model of a phone has")
        missing = total_bytes - self._done_bytes
        free = shutil.disk_usage(self._part.parent).free
        if missing + RESERVE_BYTES > free:
            raise FetchError(
                f"{self._part.parent}: {format_bytes(missing)} to come and {format_bytes(RESERVE_BYTES)} to stay free, "
                f"but there are {format_bytes(free)}; make room, then fetch again"
            )

    def _receive(self, body: Body) -> None:
        total = body.answer.total_bytes
        what = f"fetch {self._wanted.file_name}"
        with self._part.open("ab") as file:
            for chunk in body.chunks(CHUNK_BYTES):
                file.write(chunk)
                self._digest.update(chunk)
                self._done_bytes += len(chunk)
                if total is not None and self._done_bytes > total:
                    raise FetchError(f"{self._wanted.url}: the server sends more than the {total} bytes it told of")
                if self._done_bytes // ROOM_EVERY_BYTES != (self._done_bytes - len(chunk)) // ROOM_EVERY_BYTES:
                    self._make_sure_of_room(total or self._done_bytes)
                if self._done_bytes > MAX_MODEL_BYTES:
                    raise FetchError(f"{self._wanted.url}: no end after {format_bytes(MAX_MODEL_BYTES)}; no model")
                self._progress(what, ByteCount(self._done_bytes), ByteCount(total or self._done_bytes + 1))
            file.flush()
            os.fsync(file.fileno())
        if total is not None and self._done_bytes != total:
            raise Cut(f"the connection ended after {self._done_bytes} of {total} bytes")

    def _validator(self) -> _Validator | None:
        """None: nothing is known of the part, or nothing that makes sense."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            if self._note.stat().st_size <= MAX_NOTE_BYTES:
                told = json.loads(self._note.read_text())
                etag, total = told["etag"], told["total_bytes"]
                if isinstance(told["url"], str) and isinstance(etag, str | None) and isinstance(total, int | None):
                    return _Validator(told["url"], etag, total)
        return None

    def _start_again(self) -> None:
        self._throw_away()
        self._digest = hashlib.sha256()
        self._done_bytes = 0
        self._resumed = False

    def _throw_away(self) -> None:
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

"""Files on their way to the hub, and those that submissions bring along: by their digests, whole or not there.

    <results>/farm-files/<sha256>            models and signed apps, fetched by hosts
    <anywhere>/<sha256>.part                 what has arrived so far

A file's name is its digest, so nothing that a sender says becomes a path. Blocking; whoever has an event loop calls it
in a thread, one call at a time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from harness.core.errors import HarnessError, UsageError
from harness.core.units import format_bytes
from harness.farm.wire import MAX_CHUNK_BYTES, Chunk, FetchedChunk
from harness.store.telemetry import PART_SUFFIX, sync_file, sync_folder

FOLDER = "farm-files"
MAX_BLOB_BYTES = 64 * 1024**3
UNUSED_S = 14 * 86400.0
"""A file that no run has, and nobody fetched for so long, is removed."""
DISK_RESERVE_BYTES = 1024**3
"""Left free on the disk, for the database and what is under way."""
_HASH_BLOCK_BYTES = 1024 * 1024
_HASHES_KEPT = 1024
"""Files that come at the same time without being read anew for each chunk: one a phone."""


class Arrivals:
    """Puts chunks together; a file that was cut off goes on where it was, also for another hub."""

    def __init__(self) -> None:
        # path of the part → digest of its first bytes, and how many: a whole model is not read again at its end
        self._hashes: OrderedDict[Path, tuple[hashlib._Hash, int]] = OrderedDict()

    def add(self, folder: Path, chunk: Chunk, max_bytes: int) -> int:
        """Adds the chunk if it is the next one of `folder/<sha256>`; how many bytes are there then.

        Raises UsageError for a file that is too long, HarnessError when there is no room or it has another digest.
        """
        if chunk.size_bytes > max_bytes:
            raise UsageError(
                f"{_named(chunk)}: {format_bytes(chunk.size_bytes)}; a hub takes {format_bytes(max_bytes)} at most"
            )
        if chunk.offset + len(chunk.data) > chunk.size_bytes:
            raise UsageError(f"{_named(chunk)}: has more bytes than were announced")
        whole = folder / chunk.sha256
        if whole.is_file():
            return chunk.size_bytes
        try:
            return self._add(whole, chunk)
        except OSError as error:
            raise HarnessError(f"{whole}: cannot be written: {error.strerror}") from error

    def _add(self, whole: Path, chunk: Chunk) -> int:
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(whole.name + PART_SUFFIX)
        # no link is followed, whoever put one there
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            have = os.fstat(descriptor).st_size
            if have > chunk.size_bytes:
                os.ftruncate(descriptor, 0)
                have = 0
            if chunk.offset != have:
                return have
            _check_room(whole.parent, chunk.size_bytes - have)
            digest = self._digest_so_far(part, descriptor, have)
            left = memoryview(chunk.data)
            while left:
                left = left[os.write(descriptor, left) :]
            digest.update(chunk.data)
        finally:
            os.close(descriptor)
        have += len(chunk.data)
        if have < chunk.size_bytes:
            self._keep(part, digest, have)
            return have
        if digest.hexdigest() != chunk.sha256:
            part.unlink()
            # not the sender's fault for ever: the next try begins anew
            raise HarnessError(
                f"{_named(chunk)}: arrived with another digest ({digest.hexdigest()}): it was changed on its way or "
                "while it was sent; send it again"
            )
        sync_file(part)
        part.replace(whole)
        sync_folder(whole.parent)
        return have

    def _digest_so_far(self, part: Path, descriptor: int, have: int) -> hashlib._Hash:
        digest, count = self._hashes.pop(part, (hashlib.sha256(), 0))
        if count != have:
            digest, count = hashlib.sha256(), 0
            while count < have and (block := os.pread(descriptor, min(_HASH_BLOCK_BYTES, have - count), count)):
                digest.update(block)
                count += len(block)
        return digest

    def _keep(self, part: Path, digest: hashlib._Hash, have: int) -> None:
        self._hashes[part] = (digest, have)
        while len(self._hashes) > _HASHES_KEPT:
            self._hashes.popitem(last=False)


class Blobs:
    """The files of submissions."""

    def __init__(self, results: Path, arrivals: Arrivals) -> None:
        self.folder = results / FOLDER
        self._arrivals = arrivals

    def add(self, chunk: Chunk) -> int:
        """See `Arrivals.add`."""
        return self._arrivals.add(self.folder, chunk, MAX_BLOB_BYTES)

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether it is here, whole; whoever asks is about to use it, so it stays."""
        path = self.folder / sha256
        here = path.is_file() and path.stat().st_size == size_bytes
        if here:
            os.utime(path)
        return here

    def read(self, sha256: str, offset: int) -> FetchedChunk:
        """So much of it as goes into a message; no bytes from its end on. Raises UsageError when it is not here."""
        path = self.folder / sha256
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            raise UsageError(
                f"the hub has no file {sha256[:12]}… (any more): submit the suite again, and it is sent"
            ) from None
        try:
            size_bytes = os.fstat(descriptor).st_size
            data = os.pread(descriptor, MAX_CHUNK_BYTES, offset) if offset < size_bytes else b""
            os.utime(descriptor)
        finally:
            os.close(descriptor)
        return FetchedChunk(size_bytes=size_bytes, data=data)

    def touch(self, digests: Collection[str]) -> None:
        """They are in use."""
        for digest in digests:
            path = self.folder / digest
            if path.is_file():
                os.utime(path)

    def tidy(self, now_s: float | None = None) -> list[str]:
        """Removes what was unused for long, half-sent files too; their names. `now_s` is the wall clock's."""
        return remove_old(self.folder, UNUSED_S, now_s)


def remove_old(folder: Path, age_s: float, now_s: float | None = None) -> list[str]:
    """Removes the entries of a folder that nobody touched for so long, folders with what is in them; their names."""
    limit_s = (time.time() if now_s is None else now_s) - age_s
    removed = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            if entry.lstat().st_mtime >= limit_s:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except FileNotFoundError:
            continue
        removed.append(entry.name)
    return removed


def _check_room(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes + DISK_RESERVE_BYTES > free_bytes:
        raise HarnessError(
            f"the hub's disk is full: {folder} has {format_bytes(free_bytes)} left, and {format_bytes(needed_bytes)} "
            f"are to come; {format_bytes(DISK_RESERVE_BYTES)} stay free: make room there, and it goes on by itself"
        )


def _named(chunk: Chunk) -> str:
    return f"file {chunk.name or chunk.sha256[:12]}"

"""Files that a run brought along (models, signed apps), fetched from the hub by their digests and kept for the next.

    <cache>/farm-files/<sha256>/<file name>

One folder for all phones of a host: who comes first fetches, the others wait. What was not used longest goes first.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import platformdirs

from harness import APP_NAME
from harness.core.errors import HarnessError
from harness.core.units import format_bytes
from harness.farm.link import Link
from harness.farm.turns import only_us
from harness.farm.wire import FetchChunk, FetchedChunk, FileRef

FOLDER = "farm-files"
PART = ".part"
"""Name of a file that has not arrived yet, and was not looked at: never taken for one that has."""
DISK_RESERVE_BYTES = 1024**3
MAX_CACHE_BYTES = 100 * 1024**3
IN_USE_S = 6 * 3600.0
"""A file that was used so recently is never removed."""
_DIGEST_BLOCK_BYTES = 1 << 20

Progress = Callable[[str, int, int], None]


class BrokenFile(HarnessError):
    """What the hub has is not what the run's digest says."""


def files_folder() -> Path:
    """In the user's cache folder."""
    return platformdirs.user_cache_path(APP_NAME) / FOLDER


async def fetched(link: Link, ref: FileRef, progress: Progress, root: Path | None = None) -> Path:
    """The file, whole and under its own name. Raises BrokenFile, HubUnreachable, HarnessError (disk, hub)."""
    if ref.file_name in (".", "..", PART) or not ref.file_name.isprintable():
        raise BrokenFile(f"{ref.file_name!r}: is no name that a file could have here")
    root = root or files_folder()
    folder = root / ref.sha256
    path = folder / ref.file_name
    try:
        # of what is in there nobody but us looks more than once at the digest
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        async with only_us(folder.with_name(f".{ref.sha256}.lock")):
            if not _is_whole(path, ref):
                _link_other_name(folder, path, ref)
            if not _is_whole(path, ref):
                _check_room(folder, ref)
                await _fetch(link, ref, path, progress)
                await asyncio.to_thread(_make_room, folder.parent, keep=folder)
            os.utime(folder)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be kept: {error.strerror or error}") from None
    return path


def _is_whole(path: Path, ref: FileRef) -> bool:
    # it got its name when it was whole, and its digest was right
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == ref.size_bytes


def _check_room(folder: Path, ref: FileRef) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if ref.size_bytes + DISK_RESERVE_BYTES > free_bytes:
        raise HarnessError(
            f"{ref.file_name}: has {format_bytes(ref.size_bytes)}, and this host's disk {format_bytes(free_bytes)} for "
            f"{folder.parent}, of which {format_bytes(DISK_RESERVE_BYTES)} stay free for records: make room there"
        )


def _link_other_name(folder: Path, path: Path, ref: FileRef) -> None:
    for other in folder.iterdir():
        if other.name != PART and _is_whole(other, ref):
            with suppress(FileExistsError):
                os.link(other, path)
            return


async def _fetch(link: Link, ref: FileRef, path: Path, progress: Progress) -> None:
    part = path.parent / PART
    digest = hashlib.sha256()
    with part.open("a+b") as file:
        offset = await asyncio.to_thread(_digest_so_far, file.fileno(), ref.size_bytes, digest)
        file.truncate(offset)
        while offset < ref.size_bytes:
            progress(f"fetch {ref.file_name}", offset, ref.size_bytes)
            answer = await link.ask("fetch", FetchChunk(sha256=ref.sha256, offset=offset), FetchedChunk, limit_s=60.0)
            if answer.size_bytes != ref.size_bytes or not answer.data:
                raise BrokenFile(
                    f"{ref.file_name}: the hub has {answer.size_bytes} bytes, the run says {ref.size_bytes}"
                )
            await asyncio.to_thread(file.write, answer.data)
            digest.update(answer.data)
            offset += len(answer.data)
        file.flush()
        os.fsync(file.fileno())
    progress(f"fetch {ref.file_name}", ref.size_bytes, ref.size_bytes)
    if digest.hexdigest() != ref.sha256 or offset != ref.size_bytes:
        part.unlink(missing_ok=True)
        raise BrokenFile(f"{ref.file_name}: arrived with the digest {digest.hexdigest()}, the run says {ref.sha256}")
    part.replace(path)


def _digest_so_far(descriptor: int, limit: int, digest: hashlib._Hash) -> int:
    offset = 0
    while offset < limit and (block := os.pread(descriptor, min(_DIGEST_BLOCK_BYTES, limit - offset), offset)):
        digest.update(block)
        offset += len(block)
    return offset


def _make_room(root: Path, keep: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
    folders = [entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()]
    found = {folder: _size_and_time(folder) for folder in folders}
    total = sum(size for size, _ in found.values())
    for folder, (size, used_s) in sorted(found.items(), key=lambda entry: entry[1][1]):
        recent = time.time() - used_s < IN_USE_S
        if total <= max_bytes or folder == keep or recent:
            continue
        total -= size
        shutil.rmtree(folder, ignore_errors=True)


def _size_and_time(folder: Path) -> tuple[int, float]:
    """Nothing, if another process was quicker to remove it."""
    try:
        return sum(file.lstat().st_size for file in folder.iterdir()), folder.stat().st_mtime
    except FileNotFoundError:
        return 0, 0.0

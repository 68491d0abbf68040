"""A trial's files: found without leaving their results folder, whatever a row says, and copied so that they last.

May know paths and nothing of records.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.store.errors import StoreError
from harness.store.telemetry import PART_SUFFIX, sync_folder

MAX_FILES = 10_000
"""Of one trial; it writes a journal, stderr, and some reports."""
MAX_DEPTH = 8
_CHUNK_BYTES = 1024 * 1024


def inside(folder: Path, relative: str | None) -> Path | None:
    """The path below `folder` that a row names; None when it names none, or one outside, also by way of a link."""
    if not relative or "\0" in relative:
        return None
    root = folder.resolve()
    path = (root / relative).resolve()
    return path if path != root and path.is_relative_to(root) else None


def regular_files(folder: Path) -> Iterator[Path]:
    """Files below a folder; links and what is no file are passed by. Raises StoreError beyond MAX_FILES."""
    count = 0
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        for entry in sorted(os.scandir(here), key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                waiting.append((Path(entry.path), depth + 1))
            elif entry.is_file(follow_symlinks=False):
                count += 1
                if count > MAX_FILES:
                    raise StoreError(f"{folder}: more than {MAX_FILES} files; no trial has as many")
                yield Path(entry.path)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 for what is not there, or is neither."""
    try:
        if path.is_symlink():
            return 0
        if path.is_dir():
            return sum(one.lstat().st_size for one in regular_files(path))
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        # another process may tidy up too
        return 0


def copy_file(source: Path, target: Path) -> None:
    """The file as it is now, on disk under its new name or not at all. Raises StoreError."""
    part = target.with_name(target.name + PART_SUFFIX)
    try:
        # a pipe that took the file's place would block; a link would lead elsewhere
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as reader, part.open("wb") as writer:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"{source}: not a file any more")
            left = found.st_size
            # not beyond what it was: a file that grows would be copied for ever
            while left > 0 and (chunk := reader.read(min(_CHUNK_BYTES, left))):
                writer.write(chunk)
                left -= len(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{source}: cannot be copied to {target}: {error.strerror}") from error


def copy_tree(source: Path, target: Path) -> None:
    """The folder's regular files, on disk under the new name or not at all; an older one of the name is replaced."""
    part = target.with_name(target.name + PART_SUFFIX)
    remove(part)
    part.mkdir(parents=True)
    for file in regular_files(source):
        copy = part / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_file(file, copy)
    sync_folder(part)
    remove(target)
    part.replace(target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """A file, a link or a whole folder; nothing to do where there is none. Raises StoreError."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be removed: {error.strerror}") from error

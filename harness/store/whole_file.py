"""A file that is there whole or not at all, whatever ends the process or the power."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from harness.store.telemetry import PART_SUFFIX, sync_folder


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """What is written replaces what was under the name once it is on disk; if the block raises, nothing does. Raises
    OSError.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        # where nothing can be written nothing can be removed either, and the first error is the one to tell
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """As `whole_file`, of data at hand."""
    with whole_file(path) as file:
        file.write(data)

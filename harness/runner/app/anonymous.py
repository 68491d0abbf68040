"""A file's bytes in anonymous memory: what counts as this process's own, unlike a mapping of the file."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

from .engine import EngineError, Stage

CHUNK_BYTES = 1 << 20


def hold_in_memory(model: Path, stage: Stage, told: Callable[[int], None]) -> mmap.mmap:
    """Read a whole file into anonymous memory, telling after each chunk how many bytes are there.

    Raises EngineError, Cancelled, OSError and ValueError (an empty file); then nothing is held.
    """
    with model.open("rb", buffering=0) as file:
        size = model.stat().st_size
        # An anonymous mapping, not a bytearray: nothing is touched before it is read into.
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            done = 0
            with memoryview(memory) as view:
                while done < size:
                    stage.check()
                    with view[done : done + CHUNK_BYTES] as part:
                        count = file.readinto(part)
                    if not count:
                        raise EngineError("load_error", f"{model.name} ended at {done} of {size} bytes")
                    done += count
                    told(done)
        except BaseException:
            memory.close()
            raise
    return memory

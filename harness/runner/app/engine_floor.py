"""The two floors: no engine at all, only the file brought into memory. What every real engine costs lies above them."""

from __future__ import annotations

import mmap
import zlib
from contextlib import suppress
from pathlib import Path

from .anonymous import hold_in_memory
from .engine import EngineError, EngineKind, Generation, Stage
from .job import Job

CHUNK_BYTES = 1 << 20
FLOOR_VERSION = "1"


class MmapFloor:
    """Maps the file read-only and reads every page once: clean, file-backed memory."""

    def __init__(self, job: Job, model: Path, home: Path) -> None:
        self._model = model
        self._mapping: mmap.mmap | None = None

    def load(self, stage: Stage) -> None:
        """Map and touch. Raises EngineError."""
        with stage.phase("map"):
            try:
                with self._model.open("rb") as file:
                    self._mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
                _in_small_pages(self._mapping)
                touch(self._mapping, CHUNK_BYTES, stage)
            except (OSError, ValueError) as error:
                raise EngineError("load_error", f"mmap of {self._model.name}: {error}") from error

    def effective_backend(self) -> tuple[str | None, str]:
        """The CPU: nothing else is used."""
        return "cpu", "this floor only reads the file"

    def generate(self, stage: Stage) -> Generation | None:
        """There is nothing to generate with."""
        return None

    def unload(self) -> None:
        """Unmap."""
        if self._mapping is not None:
            self._mapping.close()
            self._mapping = None


def _in_small_pages(mapping: mmap.mmap) -> None:
    """How much of a file Linux maps in huge pages, which need no page tables, depends on what the page cache holds:
    the footprint of one load would differ from the next one's. A phone has no huge pages. Best effort.
    """
    with suppress(OSError):
        mapping.madvise(mmap.MADV_NOHUGEPAGE)


class ReadFloor:
    """Reads the whole file into anonymous memory, which counts towards the footprint."""

    def __init__(self, job: Job, model: Path, home: Path) -> None:
        self._model = model
        self._memory: mmap.mmap | None = None

    def load(self, stage: Stage) -> None:
        """Allocate and read. Raises EngineError."""
        with stage.phase("read"):
            try:
                self._memory = hold_in_memory(self._model, stage, _untold)
            except (OSError, ValueError) as error:
                raise EngineError("load_error", f"read of {self._model.name}: {error}") from error

    def effective_backend(self) -> tuple[str | None, str]:
        """The CPU: nothing else is used."""
        return "cpu", "this floor only reads the file"

    def generate(self, stage: Stage) -> Generation | None:
        """There is nothing to generate with."""
        return None

    def unload(self) -> None:
        """Free the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def prewarm(model: Path, mode: str, chunk_bytes: int, stage: Stage) -> None:
    """Bring the file into the page cache: ``advise`` asks the kernel chunk by chunk, ``touch`` reads every page."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        if mode == "touch":
            touch(mapping, chunk_bytes, stage)
            return
        # The start of an advice must lie on a page.
        step = chunk_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        for offset in range(0, len(mapping), step):
            stage.check()
            mapping.madvise(mmap.MADV_WILLNEED, offset, min(step, len(mapping) - offset))


def touch(mapping: mmap.mmap, chunk_bytes: int, stage: Stage) -> None:
    """Read every byte. A checksum does it: it releases the interpreter's lock, so that the sampler keeps going."""
    with memoryview(mapping) as view:
        for offset in range(0, len(view), chunk_bytes):
            stage.check()
            with view[offset : offset + chunk_bytes] as part:
                zlib.crc32(part)


def _untold(done_bytes: int) -> None:
    """The footprint shows how far the reading is."""


def _refuse_nothing(job: Job, model: Path, home: Path) -> None:
    """A floor can try every file; what a floor's job must look like is checked with the job."""


FLOORS = {
    "mmap": EngineKind(FLOOR_VERSION, _refuse_nothing, MmapFloor),
    "read": EngineKind(FLOOR_VERSION, _refuse_nothing, ReadFloor),
}

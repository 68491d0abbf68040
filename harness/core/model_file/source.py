"""Bytes of a model file on request. Nothing here opens a file: `Source` is what an adapter outside core gives.

A model file is untrusted and may be larger than memory: a `Window` hands out what lies within one part of it, reads
page by page, and its `Budget` ends the work on a file that would have us read or visit without end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn, Protocol

from harness.core.model_file.errors import DOWNLOAD_AGAIN, ModelFileError

PAGE_SHIFT = 14
PAGE_BYTES = 1 << PAGE_SHIFT
"""Small: between two things of interest may lie hundreds of megabytes of weights."""
CACHED_PAGES = 4096
"""64 MiB: more than the graphs of any published model."""
READ_LIMIT_BYTES = 512 * 1024 * 1024
"""Of one file, all parts together."""
VISIT_LIMIT = 8_000_000
"""Tables and elements of vectors."""
BLOCK_LIMIT_BYTES = 16 * 1024 * 1024
"""What is read at once."""
FEWEST_VISITS = 64

U8 = struct.Struct("<B")
U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
I32 = struct.Struct("<i")
U64 = struct.Struct("<Q")


class Source(Protocol):
    """A file of known size. `read` gives exactly `size_bytes` bytes unless the file has become shorter meanwhile."""

    @property
    def name(self) -> str:
        """For error messages."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, size_bytes: int) -> bytes: ...


@dataclass(frozen=True)
class BytesSource:
    """A file that is in memory."""

    name: str
    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, size_bytes: int) -> bytes:
        return self.data[offset : offset + size_bytes]


class Budget:
    """How much of one file may still be read and visited."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read_left_bytes = READ_LIMIT_BYTES
        # a sound file spends at least a byte on whatever is visited: more visits than bytes go in circles
        self._visits_left = min(VISIT_LIMIT, max(FEWEST_VISITS, source.size_bytes))

    def spend_bytes(self, count: int) -> None:
        self._read_left_bytes -= count
        if self._read_left_bytes < 0:
            self._refuse(f"more than {READ_LIMIT_BYTES} bytes of it would have to be read to know its figures")

    def spend_visits(self, count: int) -> None:
        self._visits_left -= count
        if self._visits_left < 0:
            self._refuse("its tables lead to more entries than a sound file of its size has")

    def _refuse(self, problem: str) -> NoReturn:
        raise ModelFileError(self._source.name, "", problem, DOWNLOAD_AGAIN)


class Window:
    """One part of a file. Positions count from the part's beginning; whatever lies outside is a ModelFileError."""

    def __init__(self, source: Source, budget: Budget, place: str, begin: int, size_bytes: int) -> None:
        self.source = source
        self.budget = budget
        self.place = place
        self.begin = begin
        self.size_bytes = size_bytes
        self._pages: dict[int, bytes] = {}

    @classmethod
    def whole(cls, source: Source) -> Window:
        """All of the file, with a new budget."""
        return cls(source, Budget(source), "", 0, source.size_bytes)

    def part(self, place: str, begin: int, size_bytes: int) -> Window:
        """A part of this part, sharing its budget."""
        if begin < 0 or size_bytes < 0 or begin + size_bytes > self.size_bytes:
            self.refuse(begin, f"{place} would end at byte {self.begin + begin + size_bytes} of {self._end}: cut short")
        return Window(self.source, self.budget, place, self.begin + begin, size_bytes)

    def refuse(self, at: int, problem: str, remedy: str = DOWNLOAD_AGAIN) -> NoReturn:
        """Raise the error for a position in this part."""
        place = f"{self.place}, byte {self.begin + at}" if self.place else f"byte {self.begin + at}"
        raise ModelFileError(self.source.name, place, problem, remedy)

    def read(self, at: int, size_bytes: int) -> bytes:
        """Exactly that many bytes."""
        self._check(at, size_bytes)
        if size_bytes > BLOCK_LIMIT_BYTES:
            self.refuse(at, f"{size_bytes} bytes where at most {BLOCK_LIMIT_BYTES} make sense")
        if size_bytes == 0:
            return b""
        begin = self.begin + at
        end = begin + size_bytes
        pages = b"".join(self._page(number) for number in range(begin >> PAGE_SHIFT, ((end - 1) >> PAGE_SHIFT) + 1))
        skipped = begin & (PAGE_BYTES - 1)
        return pages[skipped : skipped + size_bytes]

    def number(self, form: struct.Struct, at: int) -> int:
        """One number in a form of this module."""
        size = form.size
        self._check(at, size)
        begin = self.begin + at
        offset = begin & (PAGE_BYTES - 1)
        if offset <= PAGE_BYTES - size:
            return int(form.unpack_from(self._page(begin >> PAGE_SHIFT), offset)[0])
        return int(form.unpack(self.read(at, size))[0])

    def _check(self, at: int, size_bytes: int) -> None:
        if at < 0 or size_bytes < 0 or at + size_bytes > self.size_bytes:
            self.refuse(at, f"{size_bytes} bytes are expected here, but it ends at byte {self._end}")

    @property
    def _end(self) -> int:
        return self.begin + self.size_bytes

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is None:
            begin = number << PAGE_SHIFT
            size = min(PAGE_BYTES, self.source.size_bytes - begin)
            self.budget.spend_bytes(size)
            page = self.source.read(begin, size)
            if len(page) != size:
                self.refuse(begin - self.begin, "the file became shorter while it was read", "try again")
            if len(self._pages) >= CACHED_PAGES:
                self._pages.pop(next(iter(self._pages)))
            self._pages[number] = page
        return page

"""A stored (uncompressed) zip, written front to back: the shape of a ``.task`` bundle.

Python's zipfile would do, but where it puts its Zip64 field has changed between versions, and these files shall be the
same bytes everywhere. Layout: APPNOTE.TXT 6.3 (PKWARE). The data of an entry may be aligned, because engines map it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

LOCAL_HEADER = 0x04034B50
CENTRAL_HEADER = 0x02014B50
END_OF_CENTRAL = 0x06054B50
ZIP64_END_OF_CENTRAL = 0x06064B50
ZIP64_LOCATOR = 0x07064B50
ZIP64_EXTRA = 0x0001
PADDING_EXTRA = 0xD935
"""The id Android's zipalign uses for padding."""

VERSION_PLAIN = 20
VERSION_ZIP64 = 45
ZIP64_ABOVE = (1 << 31) - 1
"""Zip64 is needed above 4 GiB; readers with signed sizes need it above 2 GiB (Python's zipfile does the same)."""
MARK_32 = 0xFFFFFFFF
DATE_1980 = 0x0021
"""1 January 1980, 00:00: the oldest time a zip knows."""

Chunks = Callable[[], Iterable[bytes | memoryview]]


@dataclass(frozen=True)
class Entry:
    """One file of the bundle. ``chunks`` is called twice: a zip names the checksum before the data."""

    name: str
    size: int
    chunks: Chunks
    alignment: int = 1


@dataclass(frozen=True)
class _Written:
    entry: Entry
    checksum: int
    offset: int


def total_size(entries: Iterable[Entry]) -> int:
    """Return how many bytes ``write`` will yield."""
    placed, offset = [], 0
    for entry in entries:
        placed.append(_Written(entry, 0, offset))
        offset += len(_local_header(placed[-1])) + entry.size
    return offset + len(_central_directory(placed, offset))


def write(entries: Iterable[Entry]) -> Iterator[bytes | memoryview]:
    """Yield the zip's bytes from front to back. Raises ValueError if an entry's chunks are not of its size."""
    placed, offset = [], 0
    for entry in entries:
        written = _Written(entry, _checksum(entry), offset)
        placed.append(written)
        header = _local_header(written)
        yield header
        yield from entry.chunks()
        offset += len(header) + entry.size
    yield _central_directory(placed, offset)


def _checksum(entry: Entry) -> int:
    checksum = size = 0
    for chunk in entry.chunks():
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
    if size != entry.size:
        raise ValueError(f"{entry.name} has {size} bytes, {entry.size} were announced")
    return checksum


def _local_header(written: _Written) -> bytes:
    entry = written.entry
    name = entry.name.encode("ascii")
    large = entry.size > ZIP64_ABOVE
    extra = struct.pack("<HHQQ", ZIP64_EXTRA, 16, entry.size, entry.size) if large else b""
    if entry.alignment > 1:
        end = written.offset + 30 + len(name) + len(extra) + 4
        padding = -end % entry.alignment
        extra += struct.pack("<HH", PADDING_EXTRA, padding) + bytes(padding)
    size = MARK_32 if large else entry.size
    version = VERSION_ZIP64 if large else VERSION_PLAIN
    fields = (LOCAL_HEADER, version, 0, 0, 0, DATE_1980, written.checksum, size, size, len(name), len(extra))
    return struct.pack("<IHHHHHIIIHH", *fields) + name + extra


def _central_directory(placed: list[_Written], offset: int) -> bytes:
    directory = b"".join(_central_header(written) for written in placed)
    count, size = len(placed), len(directory)
    if offset <= ZIP64_ABOVE:
        end = struct.pack("<IHHHHIIH", END_OF_CENTRAL, 0, 0, count, count, size, offset, 0)
        return directory + end
    versions = (VERSION_ZIP64, VERSION_ZIP64)
    zip64 = struct.pack("<IQHHIIQQQQ", ZIP64_END_OF_CENTRAL, 44, *versions, 0, 0, count, count, size, offset)
    locator = struct.pack("<IIQI", ZIP64_LOCATOR, 0, offset + size, 1)
    end = struct.pack("<IHHHHIIH", END_OF_CENTRAL, 0, 0, count, count, size, MARK_32, 0)
    return directory + zip64 + locator + end


def _central_header(written: _Written) -> bytes:
    entry = written.entry
    name = entry.name.encode("ascii")
    large, far = entry.size > ZIP64_ABOVE, written.offset > ZIP64_ABOVE
    values = [entry.size, entry.size] * large + [written.offset] * far
    extra = struct.pack(f"<HH{len(values)}Q", ZIP64_EXTRA, 8 * len(values), *values) if values else b""
    size = MARK_32 if large else entry.size
    offset = MARK_32 if far else written.offset
    version = VERSION_ZIP64 if values else VERSION_PLAIN
    head = (CENTRAL_HEADER, version, version, 0, 0, 0, DATE_1980, written.checksum, size, size, len(name), len(extra))
    return struct.pack("<IHHHHHHIIIHHHHHII", *head, 0, 0, 0, 0, offset) + name + extra

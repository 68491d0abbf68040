"""Where the parts of a `.task` lie: the directory of a zip whose entries are stored. Nothing is extracted.

Layout: APPNOTE.TXT 6.3 (PKWARE). Engines map the entries, therefore a compressed one is an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from harness.core.model_file.errors import DOWNLOAD_AGAIN
from harness.core.model_file.facts import Section
from harness.core.model_file.source import Window

BEGIN = b"PK\x03\x04"
END_OF_CENTRAL = b"PK\x05\x06"
LOCAL = struct.Struct("<4sHHHHHIIIHH")
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")
ZIP64_LOCATOR = struct.Struct("<4sIQI")
ZIP64_END = struct.Struct("<4sQHHIIQQQQ")
CENTRAL_SIGNATURE = b"PK\x01\x02"
ZIP64_LOCATOR_SIGNATURE = b"PK\x06\x07"
ZIP64_END_SIGNATURE = b"PK\x06\x06"
ZIP64_EXTRA = 0x0001
MARK_16 = 0xFFFF
MARK_32 = 0xFFFFFFFF

COMMENT_LIMIT_BYTES = 0xFFFF
DIRECTORY_LIMIT_BYTES = 1024 * 1024
MOST_ENTRIES = 256
"""A bundle has about ten."""
ENCRYPTED = 1
STORED = 0


@dataclass(frozen=True)
class _Directory:
    at: int
    size_bytes: int
    entries: int


def read_zip(window: Window) -> tuple[Section, ...]:
    """The entries in the order in which they lie in the file. Raises ModelFileError."""
    directory = _find_directory(window)
    if directory.entries > MOST_ENTRIES or directory.size_bytes > DIRECTORY_LIMIT_BYTES:
        window.refuse(directory.at, f"a directory of {directory.entries} entries: no model bundle", "unpack it")
    data = window.read(directory.at, directory.size_bytes)
    sections, position = [], 0
    for _ in range(directory.entries):
        section, length = _entry(window, directory.at + position, data[position:])
        sections.append(section)
        position += length
    sections.sort(key=lambda section: section.offset)
    for before, after in pairwise(sections):
        if before.offset + before.size_bytes > after.offset:
            window.refuse(after.offset, f"the entries {before.name} and {after.name} overlap: damaged")
    if sections and sections[-1].offset + sections[-1].size_bytes > directory.at:
        window.refuse(directory.at, f"the entry {sections[-1].name} reaches into the directory: damaged")
    return tuple(sections)


def _find_directory(window: Window) -> _Directory:
    tail_at = max(0, window.size_bytes - COMMENT_LIMIT_BYTES - END.size)
    tail = window.read(tail_at, window.size_bytes - tail_at)
    found = tail.rfind(END_OF_CENTRAL, 0, max(0, len(tail) - END.size) + len(END_OF_CENTRAL))
    if found < 0:
        window.refuse(window.size_bytes, f"the zip's directory is missing at its end{_cut_short(window)}")
    end_at = tail_at + found
    entries, size, offset = END.unpack_from(tail, found)[4:7]
    locator_at = end_at - ZIP64_LOCATOR.size
    if MARK_32 in (size, offset) or entries == MARK_16:
        if locator_at < 0:
            window.refuse(end_at, "the zip64 directory is missing: damaged")
        signature, _, zip64_at, _ = ZIP64_LOCATOR.unpack(window.read(locator_at, ZIP64_LOCATOR.size))
        if signature != ZIP64_LOCATOR_SIGNATURE:
            window.refuse(locator_at, "the zip64 directory is missing: damaged")
        fields = ZIP64_END.unpack(window.read(zip64_at, ZIP64_END.size))
        if fields[0] != ZIP64_END_SIGNATURE:
            window.refuse(zip64_at, "the zip64 directory is missing: damaged")
        entries, size, offset = fields[7:10]
    if offset + size > end_at:
        window.refuse(end_at, f"the directory would end at byte {offset + size}, behind its own end: cut or damaged")
    return _Directory(offset, size, entries)


def _cut_short(window: Window) -> str:
    """How far the first entry alone would reach, where that is beyond the end."""
    if window.size_bytes < LOCAL.size:
        return ""
    *_, size, name_bytes, extra_bytes = LOCAL.unpack(window.read(0, LOCAL.size))
    data_at = LOCAL.size + name_bytes + extra_bytes
    if data_at > window.size_bytes:
        return ""
    name = window.read(LOCAL.size, name_bytes).decode(errors="replace")
    if size == MARK_32:
        sizes = _zip64_values(window.read(LOCAL.size + name_bytes, extra_bytes))
        size = sizes[0] if sizes else 0
    end = data_at + size
    if end <= window.size_bytes:
        return ""
    return f": it ends at byte {window.size_bytes}, its entry {name} alone goes to byte {end}"


def _zip64_values(extra: bytes) -> tuple[int, ...]:
    """The numbers of a Zip64 extra field; none where there is none."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        content = extra[position + 4 : position + 4 + size]
        if kind == ZIP64_EXTRA:
            return struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8])
        position += 4 + size
    return ()


def _entry(window: Window, at: int, data: bytes) -> tuple[Section, int]:
    """The entry that a directory's record describes, and the record's length."""
    if len(data) < CENTRAL.size:
        window.refuse(at, "the directory ends within an entry: damaged")
    fields = CENTRAL.unpack_from(data)
    signature, flags, method = fields[0], fields[3], fields[4]
    packed, size, name_bytes, extra_bytes, comment_bytes, offset = *fields[8:13], fields[16]
    if signature != CENTRAL_SIGNATURE:
        window.refuse(at, "no directory entry is here: damaged")
    name_end = CENTRAL.size + name_bytes
    name = data[CENTRAL.size : name_end].decode(errors="replace")
    if method != STORED:
        window.refuse(at, f"the entry {name} is compressed; engines map it", "make the bundle without compression")
    if flags & ENCRYPTED:
        window.refuse(at, f"the entry {name} is encrypted", "make the bundle without encryption")
    marked = [value for value in (size, packed, offset) if value == MARK_32]
    if marked:
        values = list(_zip64_values(data[name_end : name_end + extra_bytes]))
        if len(values) < len(marked):
            window.refuse(at, f"the size of the entry {name} is missing: damaged")
        size = values.pop(0) if size == MARK_32 else size
        packed = values.pop(0) if packed == MARK_32 else packed
        offset = values.pop(0) if offset == MARK_32 else offset
    if size != packed:
        window.refuse(
            at, f"the entry {name} is stored, yet has two sizes, {packed} and {size}: damaged", DOWNLOAD_AGAIN
        )
    return Section(name, _data_offset(window, name, offset, size), size), name_end + extra_bytes + comment_bytes


def _data_offset(window: Window, name: str, local_at: int, size_bytes: int) -> int:
    signature, *_, name_bytes, extra_bytes = LOCAL.unpack(window.read(local_at, LOCAL.size))
    if signature != BEGIN:
        window.refuse(local_at, f"the entry {name} does not begin here: damaged")
    offset: int = local_at + LOCAL.size + name_bytes + extra_bytes
    if offset + size_bytes > window.size_bytes:
        window.refuse(offset, f"the entry {name} goes to byte {offset + size_bytes}, it ends at {window.size_bytes}")
    return offset

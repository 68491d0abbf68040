"""A flatbuffer that is not trusted: every offset is checked before it is followed, every step is counted.

Knows the encoding (https://flatbuffers.dev/internals/) and no schema. Generated readers trust their input; this one
turns whatever is wrong into a ModelFileError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from harness.core.model_file.source import I32, U8, U16, U32, U64, Window

MOST_FIELDS = 32
"""Of a table; later ones are of no interest here."""
TEXT_LIMIT_BYTES = 4096
VTABLE_HEADER_BYTES = 4


class Flatbuffer:
    """The tables of one part of a file."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._vtables: dict[int, tuple[int, tuple[int, ...]]] = {}

    def root(self) -> Table:
        return self.table(self.window.number(U32, 0))

    def table(self, at: int) -> Table:
        """The table at a position."""
        self.window.budget.spend_visits(1)
        vtable = at - self.window.number(I32, at)
        known = self._vtables.get(vtable)
        if known is None:
            known = self._vtables[vtable] = self._read_vtable(vtable)
        return Table(self, at, *known)

    def _read_vtable(self, at: int) -> tuple[int, tuple[int, ...]]:
        """Size of a table's inline part, and where in it each field lies (0: absent)."""
        window = self.window
        size, inline = window.number(U16, at), window.number(U16, at + 2)
        if size < VTABLE_HEADER_BYTES or size % 2 or inline < 4:
            window.refuse(at, "no table of fields is here: damaged")
        count = min((size - VTABLE_HEADER_BYTES) // 2, MOST_FIELDS)
        offsets = struct.unpack(f"<{count}H", window.read(at + VTABLE_HEADER_BYTES, 2 * count))
        if any(0 < offset < 4 or offset >= inline for offset in offsets):
            window.refuse(at, "a field lies outside its table: damaged")
        return inline, offsets


class Table:
    """One table. Slots are positions in its schema; an absent field is None or the schema's default."""

    __slots__ = ("_buffer", "_fields", "_inline", "at")

    def __init__(self, buffer: Flatbuffer, at: int, inline: int, fields: tuple[int, ...]) -> None:
        self._buffer = buffer
        self.at = at
        self._inline = inline
        self._fields = fields

    def number(self, slot: int, form: struct.Struct, default: int = 0) -> int:
        """A scalar."""
        at = self._field(slot, form.size)
        return default if at is None else self._buffer.window.number(form, at)

    def byte(self, slot: int, default: int = 0) -> int:
        """A one-byte scalar."""
        return self.number(slot, U8, default)

    def u32(self, slot: int, default: int = 0) -> int:
        return self.number(slot, U32, default)

    def u64(self, slot: int, default: int = 0) -> int:
        return self.number(slot, U64, default)

    def table(self, slot: int) -> Table | None:
        """A table, or the table in a union."""
        at = self._target(slot)
        return None if at is None else self._buffer.table(at)

    def text(self, slot: int) -> str | None:
        """A string; bytes that are no UTF-8 are replaced."""
        found = self.extent(slot, 1)
        if found is None:
            return None
        begin, count = found
        window = self._buffer.window
        if count > TEXT_LIMIT_BYTES:
            window.refuse(begin, f"a name of {count} bytes: damaged")
        return window.read(begin, count).decode(errors="replace")

    def extent(self, slot: int, element_bytes: int) -> tuple[int, int] | None:
        """Where a vector's elements begin, and how many they are; they lie within the part."""
        at = self._target(slot)
        if at is None:
            return None
        window = self._buffer.window
        count = window.number(U32, at)
        if at + 4 + count * element_bytes > window.size_bytes:
            end = window.begin + at + 4 + count * element_bytes
            window.refuse(
                at, f"{count} elements would end at byte {end}, it ends at {window.begin + window.size_bytes}"
            )
        return at + 4, count

    def integers(self, slot: int) -> tuple[int, ...]:
        """A vector of int32; empty when absent."""
        found = self.extent(slot, 4)
        if found is None:
            return ()
        begin, count = found
        window = self._buffer.window
        window.budget.spend_visits(count)
        return struct.unpack(f"<{count}i", window.read(begin, 4 * count))

    def tables(self, slot: int) -> Iterator[Table]:
        """A vector of tables; empty when absent."""
        found = self.extent(slot, 4)
        if found is None:
            return
        begin, count = found
        for at in range(begin, begin + 4 * count, 4):
            yield self._buffer.table(at + self._buffer.window.number(U32, at))

    def _target(self, slot: int) -> int | None:
        """What an offset points to: always something later."""
        at = self._field(slot, 4)
        return None if at is None else at + self._buffer.window.number(U32, at)

    def _field(self, slot: int, size_bytes: int) -> int | None:
        if slot >= len(self._fields) or not self._fields[slot]:
            return None
        offset = self._fields[slot]
        if offset + size_bytes > self._inline:
            self._buffer.window.refuse(self.at, "a field reaches beyond its table: damaged")
        return self.at + offset

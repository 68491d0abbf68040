"""A flatbuffer that lies is refused at the place of the lie."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from harness.core.model_file import BytesSource, ModelFileError
from harness.core.model_file.flatbuffer import Flatbuffer, Table
from harness.core.model_file.source import Window
from tests.model_files import Number, RawTable, flatbuffer

TABLE: RawTable = {
    0: Number("Uint32", 7),
    1: "text",
    2: [1, -2, 3],
    3: [{0: Number("Uint8", 9)}, {}],
    5: Number("Uint64", 1 << 40),
}
SOUND = flatbuffer(TABLE)


def root(data: bytes) -> Table:
    return Flatbuffer(Window.whole(BytesSource("a.file", data))).root()


def places(data: bytes) -> tuple[int, int]:
    """Where the root table and its vtable are."""
    (table,) = struct.unpack_from("<I", data)
    return table, table - struct.unpack_from("<i", data, table)[0]


def field_at(data: bytes, slot: int) -> int:
    table, vtable = places(data)
    return int(table + struct.unpack_from("<H", data, vtable + 4 + 2 * slot)[0])


def test_a_sound_one_is_read() -> None:
    table = root(SOUND)
    assert (table.u32(0), table.text(1), table.integers(2), table.u64(5)) == (7, "text", (1, -2, 3), 1 << 40)
    assert [one.byte(0) for one in table.tables(3)] == [9, 0]
    assert (table.u32(4, 5), table.text(4), table.integers(4), list(table.tables(4)), table.table(4)) == (
        5,
        None,
        (),
        [],
        None,
    )
    assert (table.u32(30), table.table(31)) == (0, None)


def patched(form: str, at: int, value: int) -> bytes:
    data = bytearray(SOUND)
    struct.pack_into(form, data, at, value)
    return bytes(data)


TABLE_AT, VTABLE_AT = places(SOUND)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (patched("<I", 0, 1 << 31), "4 bytes are expected here"),
        (patched("<i", TABLE_AT, -(1 << 30)), "2 bytes are expected here"),
        (patched("<i", TABLE_AT, TABLE_AT + 9), "2 bytes are expected here"),
        (patched("<H", VTABLE_AT, 3), "no table of fields"),
        (patched("<H", VTABLE_AT, 0xFFFE), "bytes are expected here|a field lies outside"),
        (patched("<H", VTABLE_AT + 2, 5), "a field lies outside its table"),
        (patched("<H", VTABLE_AT + 4, 2), "a field lies outside its table"),
    ],
)
def test_tables_that_are_none_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(ModelFileError, match=told):
        root(data)


@pytest.mark.parametrize(
    ("slot", "target", "use"),
    [
        (1, 1 << 20, lambda table: table.text(1)),
        (3, 0xFFFFFFFF, lambda table: list(table.tables(3))),
    ],
)
def test_fields_that_lead_elsewhere_are_refused(slot: int, target: int, use: Callable[[Table], object]) -> None:
    with pytest.raises(ModelFileError, match="4 bytes are expected here"):
        use(root(patched("<I", field_at(SOUND, slot), target)))


def test_a_field_reaches_no_further_than_its_table() -> None:
    small = flatbuffer({0: Number("Uint8", 1)})
    with pytest.raises(ModelFileError, match="reaches beyond its table"):
        root(small).u64(0)


def test_vectors_longer_than_the_file_are_refused() -> None:
    at = field_at(SOUND, 2)
    vector = at + struct.unpack_from("<I", SOUND, at)[0]
    for count in (1000, 0xFFFFFFFF):
        with pytest.raises(ModelFileError, match=f"{count} elements would end at byte"):
            root(patched("<I", vector, count)).integers(2)


def test_long_names_are_no_names() -> None:
    with pytest.raises(ModelFileError, match="a name of 5000 bytes"):
        root(flatbuffer({0: "x" * 5000})).text(0)


def test_going_round_in_circles_comes_to_an_end() -> None:
    table = root(SOUND)

    def go_round() -> None:
        for _ in range(len(SOUND)):
            table.integers(2)

    with pytest.raises(ModelFileError, match="more entries than a sound file"):
        go_round()

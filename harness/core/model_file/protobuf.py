"""Protocol-buffer decoding, bounded: the fields of one message, no message type.

Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT = 0
FIXED_64 = 1
LENGTH_DELIMITED = 2
FIXED_32 = 5
VARINT_LIMIT_BYTES = 10
FIXED_BYTES = {FIXED_64: 8, FIXED_32: 4}


class ProtobufError(ValueError):
    """No message; `at` is where it stops to be one."""

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(problem)
        self.at = at
        self.problem = problem


@dataclass(frozen=True)
class Field:
    """One field: an int for a varint, bytes for the rest."""

    number: int
    value: int | bytes


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message, in its order. Raises ProtobufError."""
    position = 0
    while position < len(data):
        begin = position
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ProtobufError(begin, "a field without a number")
        if wire == VARINT:
            value, position = _varint(data, position)
            yield Field(number, value)
            continue
        if wire == LENGTH_DELIMITED:
            size, position = _varint(data, position)
        elif wire in FIXED_BYTES:
            size = FIXED_BYTES[wire]
        else:
            raise ProtobufError(begin, f"wire type {wire}, which nobody writes")
        if position + size > len(data):
            raise ProtobufError(begin, f"a field of {size} bytes, {len(data) - position} are left")
        yield Field(number, data[position : position + size])
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(position, min(len(data), position + VARINT_LIMIT_BYTES)):
        value |= (data[at] & 0x7F) << shift
        shift += 7
        if data[at] < 0x80:
            return value, at + 1
    raise ProtobufError(position, "a number without an end")

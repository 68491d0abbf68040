"""Protocol-buffer encoding, the writing half: just enough for a model bundle's two small messages.

Knows the wire format (https://protobuf.dev/programming-guides/encoding/) and no message type. Fields come out in the
order in which they are given, so that the same call always gives the same bytes.
"""

from __future__ import annotations

import struct

WIRE_VARINT = 0
WIRE_LENGTH_DELIMITED = 2
WIRE_FIXED32 = 5


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a base-128 varint."""
    if value < 0:
        raise ValueError(f"a varint is not negative, got {value}")
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(field: int, value: int) -> bytes:
    """Encode one int32, bool or enum field."""
    return varint(field << 3 | WIRE_VARINT) + varint(value)


def float32(field: int, value: float) -> bytes:
    """Encode one float field."""
    return varint(field << 3 | WIRE_FIXED32) + struct.pack("<f", value)


def blob(field: int, value: bytes) -> bytes:
    """Encode one bytes field, or one sub-message that is already encoded."""
    return varint(field << 3 | WIRE_LENGTH_DELIMITED) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """Encode one string field."""
    return blob(field, value.encode())

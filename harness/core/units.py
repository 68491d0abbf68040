"""Byte counts as people write them, and how large a whole number may be where it is kept.

Everywhere else a byte count is a plain `int` in a name ending in `_bytes`.
"""

from __future__ import annotations

import re
from fractions import Fraction

BYTES_PER_UNIT: dict[str, int] = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
MIB, GIB = BYTES_PER_UNIT["MiB"], BYTES_PER_UNIT["GiB"]
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
"""Of databases, Arrow and JSON readers in other languages."""
_QUANTITY = re.compile(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,9})?) ?(?P<unit>[A-Za-z]+)", re.ASCII)


class ByteCount(int):
    """A count of bytes among counts of other things: who shows how a work goes on can tell its rate."""


class UnitError(ValueError):
    """A byte count that cannot be read; the message says what would be accepted."""


def parse_bytes(text: str) -> int:
    """Bytes in `text`, such as ``"90MiB"``, ``"1.5 GB"`` or ``"0B"``.

    The unit is required (1 MB and 1 MiB differ, a bare number would hide which was meant) and is case-sensitive.
    Raises UnitError for anything else, also for a fraction that is no whole number of bytes.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match["unit"] not in BYTES_PER_UNIT:
        raise UnitError(f"{text[:40]!r} is no size: write a number and one of {', '.join(BYTES_PER_UNIT)}, as in 90MiB")
    size = Fraction(match["number"]) * BYTES_PER_UNIT[match["unit"]]
    if size.denominator != 1:
        raise UnitError(f"{text[:40]!r} is no whole number of bytes")
    return int(size)


def format_bytes(size_bytes: int) -> str:
    """`size_bytes` for people: ``"90 MiB"`` when that is exact, else two decimals of the largest binary unit."""
    magnitude = abs(size_bytes)
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if magnitude >= BYTES_PER_UNIT[unit]), "B")
    whole, rest = divmod(magnitude, BYTES_PER_UNIT[unit])
    sign = "-" if size_bytes < 0 else ""
    if rest == 0:
        return f"{sign}{whole} {unit}"
    return f"{sign}{magnitude / BYTES_PER_UNIT[unit]:.2f} {unit}"

"""Byte counts as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.units import BYTES_PER_UNIT, UnitError, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("90MiB", 90 * 1024**2),
        ("90 MiB", 90 * 1024**2),
        ("1.5GiB", 3 * 512 * 1024**2),
        ("2.16GB", 2_160_000_000),
        ("1KB", 1000),
        (" 7 KiB ", 7168),
    ],
)
def test_reads_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "90", "MiB", "-1MiB", "1e3MB", "90mib", "90 M", "1,5GiB", "nanB", "1  MiB", "٣MiB", "9" * 19 + "B"]
)
def test_names_the_units_when_it_cannot_read(text: str) -> None:
    with pytest.raises(UnitError, match="KiB"):
        parse_bytes(text)


def test_refuses_parts_of_a_byte() -> None:
    with pytest.raises(UnitError, match="whole number"):
        parse_bytes("0.3B")


@given(st.integers(0, 10**15), st.sampled_from(sorted(BYTES_PER_UNIT)))
def test_multiplies_by_the_unit(number: int, unit: str) -> None:
    assert parse_bytes(f"{number}{unit}") == number * BYTES_PER_UNIT[unit]


@given(st.integers(0, 1023), st.sampled_from(["B", "KiB", "MiB", "GiB"]))
def test_formats_whole_quantities_exactly(number: int, unit: str) -> None:
    size = number * BYTES_PER_UNIT[unit]
    assert parse_bytes(format_bytes(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (-5 * 1024**2, "-5 MiB"), (2_160_000_000, "2.01 GiB")],
)
def test_formats_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text

"""The memory that a build occupies on purpose is really there."""

from __future__ import annotations

from harness.runner.app.ballast import hold_ballast
from harness.runner.app.memory_linux import MemoryReader

BALLAST_BYTES = 16 << 20
ODD_BYTES = 1 << 20
"""What a test run may allocate meanwhile."""


def test_a_ballast_is_footprint_as_long_as_it_is_held() -> None:
    reader = MemoryReader()
    before = reader.footprint()
    ballast = hold_ballast(BALLAST_BYTES)
    assert ballast is not None
    assert abs(reader.footprint() - before - BALLAST_BYTES) < ODD_BYTES
    ballast.close()
    assert abs(reader.footprint() - before) < ODD_BYTES


def test_no_ballast_is_nothing() -> None:
    assert hold_ballast(0) is None

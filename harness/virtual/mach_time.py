"""The phone's clock as Apple's tools see it: ticks of 24 MHz since boot, here this machine's monotonic clock."""

from __future__ import annotations

import time

TIMEBASE_NUMERATOR = 125
TIMEBASE_DENOMINATOR = 3
"""Nanoseconds = ticks × 125 / 3 on every Apple chip since the A7 (a 24 MHz counter)."""


def mach_absolute_time() -> int:
    """Ticks now."""
    return time.monotonic_ns() * TIMEBASE_DENOMINATOR // TIMEBASE_NUMERATOR

"""What comes from a phone, made into values that our own records can hold."""

from __future__ import annotations

import math
from typing import Any

# the sum of two figures still fits 64 bits with a sign
MAX_FIGURE = 2**62 - 1
NS_PER_S = 1_000_000_000
# Outside this range there is no temperature of a battery.
PLAUSIBLE_CELSIUS = (-40.0, 120.0)


def whole(value: object) -> int | None:
    """A figure from the phone that fits a column, or None where it sent something else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_FIGURE else None


def plain(value: object) -> Any:
    """A property list's value as JSON can hold it."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return repr(value)


def percent(value: object) -> int | None:
    figure = whole(value)
    return figure if figure is not None and figure <= 100 else None


def yes_or_no(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def celsius(hundredths: object) -> float | None:
    """A battery's temperature as its registry entry has it, None when it is none."""
    if isinstance(hundredths, bool) or not isinstance(hundredths, int):
        return None
    degrees = hundredths / 100
    return degrees if PLAUSIBLE_CELSIUS[0] <= degrees <= PLAUSIBLE_CELSIUS[1] else None


def clock_offset_ns(unix_s: object, *, sent_ns: int, received_ns: int) -> int | None:
    """A phone's wall clock minus the host's, which it told (in seconds) in the middle of the round trip."""
    if isinstance(unix_s, bool) or not isinstance(unix_s, (int, float)) or not math.isfinite(unix_s):
        return None
    return round(unix_s * NS_PER_S) - (sent_ns + received_ns) // 2


def end_in_words(exit_code: object, crashing_signal: object) -> str:
    """`signal 9` or `exit code 0`, as the phone told; harness.core.outcome reads the signal out of it."""
    number = whole(crashing_signal)
    if number:
        return f"signal {number}"
    code = whole(exit_code)
    return "no exit code, no signal" if code is None else f"exit code {code}"

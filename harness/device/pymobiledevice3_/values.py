"""What comes from a phone, made into values that our own records can hold."""

from __future__ import annotations

from typing import Any

# the sum of two figures still fits 64 bits with a sign
MAX_FIGURE = 2**62 - 1


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

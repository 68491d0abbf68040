"""How much a codec holds, found out from outside."""

from __future__ import annotations

PYTHON_OVERHEAD_BYTES = 64 * 1024
"""Allowed on top of a codec's own limit: the piece just fed and the codec's small fields."""


def held_bytes(thing: object, depth: int = 4) -> int:
    """How many bytes of text and data a codec holds in its attributes, however it is built."""
    if isinstance(thing, (bytes, bytearray, str)):
        return len(thing)
    if depth == 0:
        return 0
    if isinstance(thing, dict):
        return sum(held_bytes(value, depth - 1) for value in thing.values())
    if isinstance(thing, (list, tuple, set)):
        return sum(held_bytes(value, depth - 1) for value in thing)
    return held_bytes(vars(thing), depth) if hasattr(thing, "__dict__") else 0


def check_held(thing: object, limit_bytes: int) -> None:
    """Raises AssertionError when a codec holds more than it may."""
    held = held_bytes(thing)
    assert held <= limit_bytes + PYTHON_OVERHEAD_BYTES, f"{type(thing).__name__} holds {held} bytes"

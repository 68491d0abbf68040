"""Text of a phone on its way to a person: it must not speak to the terminal."""

from __future__ import annotations

MISSING = "–"
"""Stands where a figure or a name is not known; never 0."""
_SPACES = "\n\t"
_INSTEAD = "\N{REPLACEMENT CHARACTER}"


def percent(share: float, digits: int = 1, *, sign: bool = False) -> str:
    """`5.1 %`, with its sign `+5.1 %`."""
    return f"{100 * share:{'+' if sign else ''}.{digits}f} %"


def printable(text: str) -> str:
    """The text with every control character, escape or lone surrogate replaced; newlines and tabs stay."""
    # most texts are, and asking one by one costs a report a tenth of its time
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in _SPACES else _INSTEAD for one in text)

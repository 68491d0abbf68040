"""A table's columns as a terminal has room for them: what tells nothing goes, then what is said elsewhere, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.core.text import MISSING

GAP = 2
"""Characters between two columns."""


def fitting(
    headings: Sequence[str], rows: Iterable[Sequence[str]], width: int, expendable: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """The table without empty columns, and without the `expendable`, first to last, while it is wider than `width`.

    `width` in characters. Only columns that are expendable go at all. A heading of several words stands in several
    lines where that is what makes the table fit.
    """
    rows = [list(row) for row in rows]
    kept = list(range(len(headings)))

    def leave(heading: str) -> None:
        kept.remove(headings.index(heading))

    def wide(broken: bool) -> int:
        told = ((headings[at].replace(" ", "\n") if broken else headings[at], at) for at in kept)
        widths = (max(longest(heading), *(longest(row[at]) for row in rows), 0) for heading, at in told)
        return sum(widths) + GAP * (len(kept) - 1)

    for heading in expendable:
        if all(row[headings.index(heading)] in ("", MISSING) for row in rows):
            leave(heading)
    for heading in expendable:
        if wide(broken=True) <= width:
            break
        if headings.index(heading) in kept:
            leave(heading)
    broken = wide(broken=False) > width
    return (
        [headings[at].replace(" ", "\n") if broken else headings[at] for at in kept],
        [[row[at] for at in kept] for row in rows],
    )


def longest(text: str) -> int:
    """Characters of the longest line."""
    return max(map(len, text.split("\n")))


def cropped(text: str, width: int, of_end: float = 0.6) -> str:
    """The text in at most `width` characters, `of_end` of them its last: `wide/l…/cold#12`; 0: its beginning alone."""
    if len(text) <= width:
        return text
    if width < 1:
        return ""
    tail = int((width - 1) * of_end)
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"

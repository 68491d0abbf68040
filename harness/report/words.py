"""Figures as people read them. What is missing is a dash, never 0."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.core.outcome import ends_text
from harness.core.text import MISSING as MISSING  # the one place for figures and tables
from harness.core.text import printable
from harness.core.units import MIB, format_bytes

if TYPE_CHECKING:
    import pandas as pd

MAX_DRAWN_CHARS = 200
"""Of one text in a figure; a name may have ten thousand."""
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")


def is_missing(value: Any) -> bool:
    """Whether a cell of a table, or a plain value, is none: None, NaN or pandas' NA."""
    # NA can be there only where pandas is; loading it for this would take longer than drawing a page
    pandas = sys.modules.get("pandas")
    return value is None or (pandas is not None and value is pandas.NA) or bool(value != value)  # NaN


def bytes_text(value: Any) -> str:
    """`90 MiB`; a dash for None or NA."""
    return MISSING if is_missing(value) else format_bytes(round(value))


def mib_text(value_bytes: float) -> str:
    """`88.5 MiB`, `1450 MiB`: in figures, whose axes are in MiB."""
    mib = value_bytes / MIB
    return f"{mib:.0f} MiB" if mib >= 100 else f"{mib:.3g} MiB"


def duration_text(value_ns: Any) -> str:
    """`843 ms`, `2.16 s`; a dash for None or NA."""
    if is_missing(value_ns):
        return MISSING
    seconds = float(value_ns) / 1e9
    # what would round to 1000 ms is a second
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


def rate_text(value: Any) -> str:
    """`12.3 tok/s`; a dash for None or NA."""
    return MISSING if is_missing(value) else f"{float(value):.1f} tok/s"


_OF_UNIT: Mapping[str, Callable[[Any], str]] = {
    "bytes": bytes_text,
    "ns": duration_text,
    "tokens/s": rate_text,
}


def figure_text(value: Any, unit: str) -> str:
    """A figure in the unit of its column (`bytes`, `ns`, `tokens/s`); a dash for None or NA. KeyError for others."""
    return _OF_UNIT[unit](value)


def outcomes_text(outcomes: Mapping[str, int]) -> str:
    """`loaded` for one trial, `3 × loaded`, `2 × loaded, 1 × jetsam`."""
    if list(outcomes.values()) == [1]:
        return next(iter(outcomes))
    return ends_text(outcomes.items())


def device_text(row: Mapping[str, Any]) -> str:
    """`iPhone17,1 (virtual; footprint_limit=90MiB)`."""
    settings = row["device_settings"].replace(",", ", ")
    marks = [mark for mark in ("virtual" if row["device_kind"] == "virtual" else "", settings) if mark]
    return f"{row['device_product_type']} ({'; '.join(marks)})" if marks else str(row["device_product_type"])


def case_text(case: str, *, gpu_emulated: bool) -> str:
    """The case's name, with a mark where its GPU was none: such figures are a CPU's."""
    return f"{case} (gpu emulated)" if gpu_emulated else case


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain mappings from column to value."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def slug(text: str) -> str:
    """A file name's part: lower-case letters, digits and dashes; `case` if nothing is left."""
    return _NOT_PLAIN.sub("-", text.lower()).strip("-")[:80] or "case"


def drawable(text: str) -> str:
    """A text from outside as a figure can show it: one line, nothing that has no glyph, not too long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= MAX_DRAWN_CHARS else f"{line[: MAX_DRAWN_CHARS - 1]}…"

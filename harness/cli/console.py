"""Where talk goes (stderr) and where data goes (stdout)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.core.text import MISSING, printable

STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


def talk(text: str) -> None:
    """A line for the person, on stderr."""
    STDERR.print(printable(text), markup=False)


def print_json(value: object) -> None:
    """Data for a machine, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    expendable: Sequence[str] = (),
) -> None:
    """Data for a person, on stdout; as wide as it needs to be when it is not a terminal.

    Columns named in `right` are aligned there, those in `whole` are the last to be folded on a narrow terminal.
    Those in `expendable` are left out, first to last, where they tell nothing or there is no room for them.
    """
    from harness.report.fitting import fitting

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown, rows = fitting(headings, rows, console.width, expendable) if expendable else (headings, rows)
    for heading in shown:
        name = heading.replace("\n", " ")
        table.add_column(heading, justify="right" if name in right else "left", overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*map(printable, row))
    console.print(table)


def rows_of(mappings: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[list[str]]:
    """Cells of a table from mappings; None becomes a dash, never 0."""
    return [[MISSING if mapping.get(key) is None else str(mapping[key]) for key in keys] for mapping in mappings]

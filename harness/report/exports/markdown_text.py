"""Text of others in GitHub-flavoured Markdown: shown as it is, never markup, a link, a mention or a reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.core.text import printable
from harness.report.words import MISSING

MAX_CELL_CHARS = 300
_PUNCTUATION = re.compile(r"([\\`*_\[\]<>|~&#!$@])")
"""What can begin markup within a line."""
_LEADS_ELSEWHERE = re.compile(r"(?<=[@#!~$%&^:])(?=[\w/])|(?<=www)(?=\.)", re.IGNORECASE)
"""Forges look for mentions (@name), numbers (#1, !1) and addresses in the text after it was marked up, where no escape
is left to stop them: a space of no width does."""
_NOTHING = "\N{ZERO WIDTH SPACE}"


def prose(text: str) -> str:
    """The text with everything escaped that could be markup; for cells of tables, too."""
    apart = _LEADS_ELSEWHERE.sub(_NOTHING, line(text))
    return _PUNCTUATION.sub(r"\\\1", apart)


def code(text: str) -> str:
    """The text as code; a vertical bar, which no escape brings safely through a table, is written ¦."""
    plain = line(text).replace("|", "¦")
    runs = [len(run) for run in re.findall("`+", plain)]
    fence = "`" * (max(runs, default=0) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def line(text: str) -> str:
    """One line of bounded length."""
    plain = " ".join(printable(text).split()) or MISSING
    return plain if len(plain) <= MAX_CELL_CHARS else f"{plain[: MAX_CELL_CHARS - 1]}…"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """Lines of a table; cells are Markdown already."""
    marks = ["--:" if heading in right else "---" for heading in headings]
    return [_row(headings), _row(marks), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

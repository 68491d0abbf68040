"""The table at the head of a comparison's page: two sides judged, or cases side by side. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.analysis.compare_sides import About, compare_sides
from harness.analysis.metrics import DEFAULT_METRICS, METRIC_BY_NAME
from harness.core.judgement import VerdictKind
from harness.core.text import printable
from harness.report.comparison_table import HEADINGS, RIGHT, comparison_notes, comparison_rows
from harness.report.metric_words import METRIC_WORDS
from harness.report.site.comparison_choice import ARMS
from harness.report.site.comparison_pages import ComparisonContent, SideContent, TrialRows
from harness.report.words import bytes_text, figure_text

if TYPE_CHECKING:
    import pandas as pd

_VERDICT_COLUMN = HEADINGS.index("Verdict")
_LIMIT, _HEAD_ROOM = "Limit", "Head-room"
_KINDS: dict[type, Any] = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}


@dataclass(frozen=True)
class Row:
    cells: tuple[str, ...]
    bad: bool


@dataclass(frozen=True)
class ComparedTable:
    headings: tuple[str, ...]
    right: tuple[str, ...]
    """Headings of the columns of figures."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    verdict: str = ""
    """Of two sides."""


def table(content: ComparisonContent) -> ComparedTable:
    """The table of a page's content."""
    return _of_cases(content) if content.trials is None else _of_builds(content.trials)


def _of_builds(trials: TrialRows) -> ComparedTable:
    everything = _frame(trials)
    a, b = (everything[everything["arm"].eq(arm)] for arm in ARMS)
    # the run was made to compare them, whatever they differ in
    found = compare_sides(a, b, [METRIC_BY_NAME[name] for name in DEFAULT_METRICS], about=tuple(About))
    rows = [
        Row(
            tuple(printable(METRIC_WORDS[cell].short if cell in METRIC_WORDS else cell) for cell in cells),
            _is_bad(cells),
        )
        for cells in comparison_rows(found)
    ]
    turns = ("Trials of both sides took turns on one phone.",) if found.interleaved else ()
    notes = (*turns, *map(printable, comparison_notes(found)))
    return ComparedTable((*HEADINGS[:-1], "Why"), RIGHT, tuple(rows), notes, found.verdict.value)


def _is_bad(cells: tuple[str, ...]) -> bool:
    return cells[_VERDICT_COLUMN] == VerdictKind.REGRESSED


def _frame(trials: TrialRows) -> pd.DataFrame:
    """As the store gives it."""
    # both take longer to load than most pages to draw, which need neither
    import pandas as pd

    from harness.store.schema import RECORD_TYPES

    columns = zip(*trials.rows, strict=True)
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=_KINDS[RECORD_TYPES[name][0]])
            for name, values in zip(trials.columns, columns, strict=True)
        }
    )


def _of_cases(content: ComparisonContent) -> ComparedTable:
    figures = tuple(METRIC_WORDS[name].short for name in DEFAULT_METRICS)
    headings = ("Key", "Case", "Trials", "Outcome", "Expected", *figures, _LIMIT, _HEAD_ROOM)
    rows = [
        Row(_cells(side), not side.as_expected or bool(side.over_limits))
        for group in content.groups
        for side in group.sides
    ]
    return ComparedTable(headings, ("Trials", *figures, _LIMIT, _HEAD_ROOM), tuple(rows))


def _cells(side: SideContent) -> tuple[str, ...]:
    expected = "yes" if side.as_expected else f"no: {side.expected}"
    if side.over_limits:
        expected += f"; over limits: {side.over_limits} of {side.trials}"
    figures = (figure_text(_median(values), METRIC_BY_NAME[name].unit) for name, values in side.values)
    limit, room = bytes_text(_median(side.limits)), bytes_text(_median(side.head_room))
    return (side.key, side.name, str(side.trials), side.ends, expected, *figures, limit, room)


def _median(values: tuple[float, ...]) -> float | None:
    return median(values) if values else None

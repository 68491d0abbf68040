"""The rows of a series' table, and the stripes of its figure that lead to them, as they stand in the page.

They are most of a page's bytes. A template's loop over them takes five times as long as these few joins, and what the
series of a case have in common is put together once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache

from markupsafe import Markup, escape

from harness.report.series_picture import ABSENT, Spot
from harness.report.site.pages import SERIES_FOLDER, link
from harness.report.site.series_content import CaseNights, Figures, SeriesContent
from harness.report.verdict_words import value_text
from harness.report.words import MISSING

METRIC_HEADINGS = ("Median", "Middle half", "Trials")
ENDS_HEADINGS = ("Trials",)
_CASES_AT_ONCE = 4
"""Series are drawn case by case."""


def table_rows(content: SeriesContent) -> Markup:
    """A row a night, the newest first, under `Night`, the page's own headings, and what the case's series share."""
    nights = content.nights
    if content.figures is None:
        cells: list[tuple[str, ...]] = [(str(ran or MISSING),) for ran in nights.ran]
    else:
        cells = _figure_cells(content, content.figures)
    rows = [f"{begin}<td>{own}{end}" for (begin, end), own in zip(_shared(nights), _in_cells(cells), strict=True)]
    return Markup("\n".join(reversed(rows)))  # noqa: S704  # every text in it is escaped


def stripes(spots: Sequence[Spot], anchors: Mapping[tuple[int, int], str], usual_width: float) -> Markup:
    """A link to its row for each spot; `anchors`: by night and segment. Pointers only: the table has them for all."""
    links = []
    for spot in spots:
        width = "" if spot.width == usual_width else f' stroke-width="{spot.width:g}"'
        path = f'<path d="M{spot.x:g} {spot.top:g}v{spot.height:g}"{width}/>'
        links.append(f'<a href="#{escape(anchors[spot.day, spot.segment])}" tabindex="-1">{path}</a>')
    return Markup("".join(links))  # noqa: S704  # numbers, and names that are escaped


def _in_cells(rows: Sequence[tuple[str, ...]]) -> Sequence[str]:
    """Each row's cells, escaped all at once: they are figures of our own, none of which has a line break."""
    escaped = escape("\n".join("\t".join(row) for row in rows))
    return escaped.replace("\t", Markup("<td>")).split("\n")


@lru_cache(maxsize=_CASES_AT_ONCE)
def _shared(nights: CaseNights) -> tuple[tuple[str, str], ...]:
    """What is before and behind a series' own cells in each row, oldest first."""
    pages = {shown: link(f"{SERIES_FOLDER}/", page) for shown, page in nights.linked}
    columns = zip(
        nights.days,
        nights.segments,
        nights.anchors,
        nights.outcomes,
        nights.builds,
        nights.changes,
        nights.trials,
        nights.unlisted,
        strict=True,
    )
    return tuple(
        (
            f'<tr id="{escape(anchor)}"><th scope="row">{night_text(day)}',
            f"<td>{escape(_ends(segment, outcomes))}<td>{escape(build)}<td>{escape(changed)}"
            f"<td>{_trials(trials, unlisted, pages)}",
        )
        for day, segment, anchor, outcomes, build, changed, trials, unlisted in columns
    )


def _ends(segment: int, outcomes: Sequence[tuple[str, int]]) -> str:
    return "did not run" if segment == ABSENT else ", ".join(f"{count} × {name}" for name, count in outcomes)


def _trials(trials: Sequence[str], unlisted: int, pages: Mapping[str, str]) -> str:
    shown = [
        f'<a href="{escape(pages[trial])}">{escape(trial)}</a>' if trial in pages else escape(trial) for trial in trials
    ]
    return " ".join([*shown, f"and {unlisted} more"] if unlisted else shown)


def _figure_cells(content: SeriesContent, figures: Figures) -> list[tuple[str, ...]]:
    columns = zip(figures.values, figures.lower, figures.upper, figures.counts, strict=True)
    return [_cells(content, *column) for column in columns]


def _cells(
    content: SeriesContent, value: float | None, low: float | None, high: float | None, count: int
) -> tuple[str, ...]:
    if value is None:
        return (MISSING, MISSING, MISSING)
    metric = content.metric
    short = " (short)" if count < content.min_trials else ""
    return value_text(metric, value), _between(value_text(metric, low), value_text(metric, high)), f"{count}{short}"


def _between(low: str, high: str) -> str:
    """`840 – 851 ms`: a unit that both have is told once."""
    number, _, unit = low.partition(" ")
    return f"{number} – {high}" if high.endswith(f" {unit}") else f"{low} – {high}"


@lru_cache(maxsize=4096)
def night_text(day: int) -> str:
    """`2026-11-22` of a date's ordinal."""
    return str(date.fromordinal(day))

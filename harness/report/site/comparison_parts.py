"""What a comparison's page shows beside its content: figures and their tables. Reads the telemetry it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.text import printable
from harness.report.figures_style import style
from harness.report.inline_svg import PAGE, inline_svg
from harness.report.metric_words import METRIC_WORDS, metric_text
from harness.report.overlay_figure import Overlaid, overlay_figure
from harness.report.site.comparison_pages import ComparisonContent, GroupContent, SideContent, SuiteCopy
from harness.report.site.pages import trial_page
from harness.report.site.table_rows import table_rows
from harness.report.strips_figure import Strip, strips_figure
from harness.report.timeline_parts import NS_PER_S, SampledTrial, sample_gap_ns
from harness.report.words import MISSING, drawable, figure_text
from harness.store.errors import StoreError
from harness.store.telemetry import read_arrays

if TYPE_CHECKING:
    from harness.bench.suite import Published

MAX_LINES = 12
"""Of one picture."""
TABLE_ROWS = 60


@dataclass(frozen=True)
class Table:
    headings: tuple[str, ...]
    rows: Markup
    shown: int
    """Rows."""


@dataclass(frozen=True)
class SideLine:
    """What stands in the list of sides."""

    side: SideContent
    page: str | None
    """Of the trial that stands for it."""


@dataclass(frozen=True)
class GroupParts:
    heading: str
    sides: tuple[SideLine, ...]
    overlay: Markup | None
    overlay_table: Table | None
    not_drawn: str
    """Which sides have no line, and why."""
    strips: Markup | None
    strips_table: Table | None


def drawn(content: ComparisonContent) -> list[GroupParts]:
    """The parts of each group of sides."""
    with style(PAGE):
        return [_group(group, number) for number, group in enumerate(content.groups)]


def published(copy: SuiteCopy | None) -> tuple[Published, ...]:
    """What the suite quotes of others; nothing where its copy cannot be read any more."""
    if copy is None:
        return ()
    # here: what reads suites takes a third of a second to load, and few suites quote somebody
    from harness.bench.kept_suites import kept_suite
    from harness.bench.suite import SuiteError

    try:
        suite = kept_suite(Path(copy.results), copy.digest)
    except SuiteError:
        return ()
    facts = () if suite is None else suite.published
    return tuple(
        fact.model_copy(update={"what": printable(fact.what), "figure": printable(fact.figure)}) for fact in facts
    )


def _group(group: GroupContent, number: int) -> GroupParts:
    overlaid, missing = _overlaid(group.sides)
    overlay = overlay_table = strips = strips_table = None
    of = f" of {group.heading}" if group.heading else ""
    kind = group.sides[0].record.device_kind
    if overlaid:
        told = "; ".join(f"{side.key} is {side.name}" for side in overlaid)
        label = drawable(f"Line chart, {kind} phone: footprint{of} since the load began. {told}")
        overlay = inline_svg(overlay_figure(overlaid, PAGE), label, f"o{number}")
        overlay_table = _overlay_table(overlaid)
    metrics = [name for name in METRIC_WORDS if any(dict(side.values).get(name) for side in group.sides)]
    if metrics:
        rows = [Strip(side.key, dict(side.values)) for side in group.sides]
        names = ", ".join(map(metric_text, metrics))
        label = drawable(f"Strips of dots, {kind} phone: {names}{of}; one dot a trial, a bar at the median.")
        strips = inline_svg(strips_figure(rows, metrics, PAGE), label, f"s{number}")
        strips_table = _strips_table(group.sides, metrics)
    lines = tuple(SideLine(side, trial_page(side.record.trial_id) if side.linked else None) for side in group.sides)
    return GroupParts(group.heading, lines, overlay, overlay_table, missing, strips, strips_table)


def _overlaid(sides: Sequence[SideContent]) -> tuple[list[Overlaid], str]:
    found: list[Overlaid] = []
    without: list[str] = []
    beyond: list[str] = []
    for side in sides:
        if len(found) == MAX_LINES:
            beyond.append(side.key)
            continue
        try:
            readings = None if side.telemetry is None else read_arrays(Path(side.telemetry.path))
        except StoreError:
            readings = None
        if readings is None:
            without.append(side.key)
        else:
            found.append(Overlaid(side.key, side.name, SampledTrial(side.record, readings)))
    told = [f"No readings of {', '.join(without)}."] if without else []
    told += [f"Not drawn, for {MAX_LINES} lines are all that can be told apart: {', '.join(beyond)}."] if beyond else []
    return found, " ".join(told)


def _overlay_table(overlaid: Sequence[Overlaid]) -> Table:
    """Each side's footprint at evenly spaced times: the sample before, unless that is too long ago."""
    lines = [side.line for side in overlaid]
    end = max((float(seconds[-1]) for seconds, _ in lines if seconds.size), default=0.0)
    times = np.linspace(0.0, end, TABLE_ROWS)
    columns = []
    for side, (seconds, values) in zip(overlaid, lines, strict=True):
        within = 2 * sample_gap_ns(side.trial.record) / NS_PER_S
        before = np.searchsorted(seconds, times + 1e-9, side="right") - 1
        told = np.full(TABLE_ROWS, np.nan)
        if seconds.size:
            told = np.where((before >= 0) & (times - seconds[before] <= within), values[before], np.nan)
        # NaN is not equal to itself
        columns.append([f"{value:.2f}" if value == value else MISSING for value in told.tolist()])
    headings = ("Seconds", *(f"{side.key}, MiB" for side in overlaid))
    rows = zip([f"{time:.3f}" for time in times.tolist()], *columns, strict=True)
    return Table(headings, table_rows(rows), TABLE_ROWS)


def _strips_table(sides: Sequence[SideContent], metrics: Sequence[str]) -> Table:
    rows = []
    for name in metrics:
        unit = METRIC_BY_NAME[name].unit
        for side in sides:
            values = dict(side.values).get(name, ())
            told = [median(values), min(values), max(values)] if values else [None] * 3
            rows.append(
                (METRIC_WORDS[name].short, side.key, str(len(values)), *(figure_text(one, unit) for one in told))
            )
    return Table(("Metric", "Side", "Trials", "Median", "Smallest", "Largest"), table_rows(rows), len(rows))

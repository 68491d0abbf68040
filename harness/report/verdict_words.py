"""Verdicts as rows of text for a terminal, and as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from harness.analysis.metrics import METRIC_BY_NAME
from harness.analysis.series import CaseHistory, Segment, SeriesKey, context_changes, identity_change
from harness.analysis.verdict import Verdict
from harness.core.judgement import VerdictKind
from harness.core.outcome import ends_text
from harness.core.text import percent
from harness.report.words import MISSING, figure_text

HEADINGS = ("Verdict", "Series", "Since", "Before", "Now", "Shift", "Why")
RIGHT = ("Before", "Now", "Shift")
NIGHT_HEADINGS = ("Night", "Value", "Trials", "Ends", "Build", "What changed")


def value_text(metric: str, value: float | str | None) -> str:
    """A level in its metric's unit; an outcome as it is; a dash for None."""
    if value is None or isinstance(value, str):
        return value or MISSING
    return figure_text(value, METRIC_BY_NAME[metric].unit)


def shift_text(shift: float | None) -> str:
    """`+5.2 %`; a dash for None; from zero there is no share."""
    if shift is None:
        return MISSING
    return percent(shift, sign=True) if math.isfinite(shift) else "from 0"


def kind_text(verdict: Verdict) -> str:
    """`regressed, new`, `regressed, acknowledged`."""
    if verdict.kind is VerdictKind.REGRESSED and not verdict.is_open and verdict.triage is not None:
        return f"{verdict.kind}, {verdict.triage.state}"
    return f"{verdict.kind}, new" if verdict.new else str(verdict.kind)


def verdict_rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """Rows in the order given, under HEADINGS; a case that is silent for one reason in all its series is one row."""
    rows = []
    for _, group in groupby(verdicts, key=_together):
        ones = list(group)
        rows.append(_row(ones[0]) if len(ones) == 1 else _row_of_several(ones))
    return rows


def _together(verdict: Verdict) -> object:
    if verdict.kind is VerdictKind.MISSING:
        return (verdict.series.of_case, verdict.segment, verdict.words)
    return id(verdict)


def _row(verdict: Verdict) -> tuple[str, ...]:
    metric = verdict.series.metric
    return (
        kind_text(verdict),
        verdict_text(verdict),
        str(verdict.since or MISSING),
        value_text(metric, verdict.before),
        value_text(metric, verdict.after),
        shift_text(verdict.shift),
        verdict.words,
    )


def _row_of_several(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    first = verdicts[0]
    return (
        kind_text(first),
        verdict_text(first, f"{first.series.text.removesuffix(first.series.metric)}({len(verdicts)} series)"),
        MISSING,
        MISSING,
        MISSING,
        MISSING,
        first.words,
    )


def verdict_text(verdict: Verdict, series: str | None = None) -> str:
    """Of what it is the verdict: its series, and the segment where several go on side by side.

    `series`: what to call the series; None: its own text.
    """
    text = verdict.series.text if series is None else series
    return f"{text} [{verdict.segment}]" if verdict.segment else text


def plain(verdict: Verdict) -> dict[str, Any]:
    """For machines: names as in `Verdict`, the series by its text; a shift from zero is null: JSON has no infinity."""
    values = asdict(verdict)
    shift = verdict.shift
    return {**values, "series": verdict.series.text, "shift": shift if shift is None or math.isfinite(shift) else None}


@dataclass(frozen=True)
class NightRow:
    """One night of a series, for a person and for a machine."""

    night: str
    value: float | None
    """In the record's unit; None: no figure. Always None for outcomes."""
    trials: int
    """That the value is of; of outcomes all."""
    short: bool
    outcomes: dict[str, int]
    build: str
    segment: int
    """Counts from 1."""
    line: str
    """What differs from the segment before, on the first night of another one."""
    changed: str
    """What else changed since the night before in the segment."""


def night_rows(history: CaseHistory, key: SeriesKey, min_trials: int) -> list[NightRow]:
    """The nights of a series, oldest first."""
    rows = [
        _night_row(history, segment, number, place, key.metric, min_trials)
        for number, segment in enumerate(history.segments, start=1)
        for place in range(len(segment.nights))
    ]
    return sorted(rows, key=lambda row: (row.night, row.segment))


def _night_row(
    history: CaseHistory, segment: Segment, number: int, place: int, metric: str, min_trials: int
) -> NightRow:
    night = segment.nights[place]
    value, trials = None, night.ran
    if metric in segment.values:
        figure = float(segment.values[metric][place])
        value, trials = None if math.isnan(figure) else figure, int(segment.counts[metric][place])
    before = history.before(segment) if place == 0 else None
    changes = context_changes(segment.nights[place - 1], night) if place else {}
    return NightRow(
        night=str(night.night),
        value=value,
        trials=trials,
        short=trials < min_trials,
        outcomes=dict(night.outcomes),
        build=next(
            (name[-1] for name in map(night.context.get, ("build", "app_commit", "app_build")) if name), MISSING
        ),
        segment=number,
        line="" if before is None else identity_change(before.identity, segment.identity),
        changed=", ".join(f"{name} {change}" for name, change in changes.items()),
    )


def night_cells(row: NightRow, metric: str) -> tuple[str, ...]:
    """Under NIGHT_HEADINGS."""
    ends = ends_text(row.outcomes.items())
    line = f"— a new segment: {row.line} —" if row.line else ""
    return (
        row.night,
        value_text(metric, row.value),
        f"{row.trials}{' (short)' if row.short else ''}",
        ends,
        row.build,
        "; ".join(filter(None, [line, row.changed])),
    )

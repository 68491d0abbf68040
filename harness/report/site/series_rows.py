"""A series' page as it is drawn: its figure, what is marked in it, and what leads to its table. Loads matplotlib."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.text import printable
from harness.report.figures_style import style
from harness.report.inline_svg import PAGE, inline_svg
from harness.report.series_ends_figure import ends_figure, strip_order
from harness.report.series_figure import series_figure
from harness.report.series_frame import Frame
from harness.report.series_picture import (
    ABSENT,
    WIDTH,
    Band,
    EndsPicture,
    Level,
    Mark,
    NightScale,
    SeriesPicture,
    Strip,
    Track,
    ends_spots,
    spots,
)
from harness.report.site.series_content import Figures, SeriesContent
from harness.report.site.series_levels import Levels, levels_of
from harness.report.site.series_table import ENDS_HEADINGS, METRIC_HEADINGS, night_text, stripes, table_rows
from harness.report.site.series_words import heading
from harness.report.verdict_words import shift_text, value_text


@dataclass(frozen=True)
class Change:
    """What is marked in the figure, in words."""

    anchor: str
    night: str
    words: str
    tone: str


@dataclass(frozen=True)
class Drawn:
    """What the template puts together."""

    figure: Markup
    width: float
    height: float
    """Of the figure, in its own lengths."""
    scale: str
    """What the scale is in, as a sentence; empty: it has none."""
    stripe: float
    """Width of a night."""
    spots: Markup
    """Stripes that lead to the nights' rows."""
    changes: tuple[Change, ...]
    """Newest first."""
    figure_headings: tuple[str, ...]
    rows: Markup
    """Newest first."""
    nights: frozenset[str]
    """Dates that have a row."""


def drawn(content: SeriesContent) -> Drawn:
    """The parts of the page."""
    marks: list[Mark] = [*content.nights.lines, *content.marks]
    shifts: dict[Mark, str] = {}
    scale = ""
    if content.figures is None:
        ends = _ends_picture(content, tuple(marks))
        with style(PAGE):
            frame = ends_figure(ends, PAGE)
            figure = _inline(frame, content, marks)
        found = ends_spots(ends, _in_stripes(content), frame.top)
    else:
        picture, shifts = _picture(content, content.figures)
        marks = list(picture.marks)
        scale = f"Scale: {picture.values.headline}."
        with style(PAGE):
            frame = series_figure(picture, PAGE)
            figure = _inline(frame, content, marks)
        found = spots(picture, frame.top)
    nights = content.nights
    anchors = dict(zip(zip(nights.days, nights.segments, strict=True), nights.anchors, strict=True))
    firsts = {day: anchor for (day, _), anchor in reversed(anchors.items())}
    stripe = round(frame.scale.slot, 1)
    newest_first = sorted(marks, key=lambda mark: -mark.day)
    return Drawn(
        figure=figure,
        width=WIDTH,
        height=round(frame.total, 1),
        scale=scale,
        stripe=stripe,
        spots=stripes(found, anchors, stripe),
        changes=tuple(_change(mark, shifts.get(mark, mark.text), firsts[mark.day]) for mark in newest_first),
        figure_headings=ENDS_HEADINGS if content.figures is None else METRIC_HEADINGS,
        rows=table_rows(content),
        nights=frozenset(map(night_text, nights.days)),
    )


def _inline(frame: Frame, content: SeriesContent, marks: list[Mark]) -> Markup:
    with warnings.catch_warnings():
        # names may have letters that the font of the layout has not; the reader's fonts may
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return inline_svg(frame.figure, _label(content, marks), "s")


def _label(content: SeriesContent, marks: list[Mark]) -> str:
    days = content.nights.days
    of = f"{heading(content)}, {len(set(days))} nights from {night_text(days[0])} to {night_text(days[-1])}"
    steps = sum(mark.worse is not None for mark in marks)
    lines = len(marks) - steps
    return printable(f"{of}; changes of level: {steps}; new segments: {lines}. The table below has every night.")


def _change(mark: Mark, words: str, anchor: str) -> Change:
    tone = {None: "", True: "bad", False: "good"}[mark.worse]
    before = "another thing is measured from here on: " if mark.worse is None else ""
    return Change(anchor, night_text(mark.day), before + words, tone)


def _picture(content: SeriesContent, figures: Figures) -> tuple[SeriesPicture, dict[Mark, str]]:
    """And the words for the marks of steps."""
    nights = content.nights
    scale = NightScale.over(nights.days)
    tracks, levels, bands = [], [], []
    steps: dict[Mark, str] = {}
    of_segment: dict[int, list[int]] = {}
    for index, segment in enumerate(nights.segments):
        of_segment.setdefault(segment, []).append(index)
    absent = of_segment.pop(ABSENT, [])
    for segment, places in sorted(of_segment.items()):
        tracks.append(_track(content, figures, segment, places))
        has = [place for place in places if figures.values[place] is not None]
        found = _levels(content, figures, has)
        days = [nights.days[place] for place in has]
        levels += [Level(days[piece.first], days[piece.last], piece.value) for piece in found.pieces]
        for step in found.steps:
            mark = Mark(days[step.index], f"{shift_text(step.shift)} {_worse(step.worse)}", step.worse)
            before, after = (value_text(content.metric, value) for value in (step.before, step.after))
            steps[mark] = f"{mark.text}: {before} → {after}"
        if content.verdicts and segment in nights.current and found.detectable_shift is not None:
            level = found.pieces[-1].value
            reach = abs(level) * found.detectable_shift
            # of memory and time less than nothing is not expected
            bands.append(Band(days[found.begins], scale.last, max(level - reach, 0.0), level + reach))
    with_figure = {day for day, value in zip(nights.days, figures.values, strict=True) if value is not None}
    missed = {nights.days[place] for place in absent}
    return SeriesPicture(
        unit=METRIC_BY_NAME[content.metric].unit,
        days=nights.days,
        tracks=tuple(tracks),
        levels=tuple(levels),
        bands=tuple(bands),
        marks=(*nights.lines, *steps),
        unmeasured=tuple(sorted(set(nights.days) - with_figure - missed)),
        absent=tuple(sorted(missed)),
        lane_names=nights.lane_names,
    ), steps


def _worse(worse: bool) -> str:
    return "worse" if worse else "better"


def _track(content: SeriesContent, figures: Figures, segment: int, places: list[int]) -> Track:
    return Track(
        segment=segment,
        lane=content.nights.lanes[segment - 1],
        days=tuple(content.nights.days[place] for place in places),
        values=tuple(figures.values[place] for place in places),
        lower=tuple(figures.lower[place] for place in places),
        upper=tuple(figures.upper[place] for place in places),
        short=tuple(figures.counts[place] < content.min_trials for place in places),
    )


def _levels(content: SeriesContent, figures: Figures, has: list[int]) -> Levels:
    values = [figures.values[place] or 0.0 for place in has]
    quartiles = [(figures.lower[place] or 0.0, figures.upper[place] or 0.0) for place in has]
    short = bool(has) and figures.counts[has[-1]] < content.min_trials
    return levels_of(values, quartiles, METRIC_BY_NAME[content.metric], content.decision, tonight_short=short)


def _in_stripes(content: SeriesContent) -> list[tuple[int, int, float, float]]:
    """Segment, night, and where in the night's stripe it lies: segments of one night stand side by side."""
    nights = content.nights
    found = []
    for day, group in groupby(zip(nights.days, nights.segments, strict=True), key=lambda one: one[0]):
        ones = [segment for _, segment in group]
        share = 1 / len(ones)
        found += [(segment, day, n * share, (n + 1) * share) for n, segment in enumerate(ones) if segment != ABSENT]
    return found


def _ends_picture(content: SeriesContent, marks: tuple[Mark, ...]) -> EndsPicture:
    nights = content.nights
    stripes = {(segment, day): (low, high) for segment, day, low, high in _in_stripes(content)}
    boxes: dict[str, list[tuple[int, float, float, float]]] = {}
    for day, segment, ran, outcomes in zip(nights.days, nights.segments, nights.ran, nights.outcomes, strict=True):
        for name, count in outcomes:
            boxes.setdefault(name, []).append((day, *stripes[segment, day], count / ran))
    strips = [
        Strip(name, *(tuple(column) for column in zip(*boxes[name], strict=True))) for name in strip_order(list(boxes))
    ]
    absent = tuple(day for day, segment in zip(nights.days, nights.segments, strict=True) if segment == ABSENT)
    return EndsPicture(nights.days, tuple(strips), marks, absent)

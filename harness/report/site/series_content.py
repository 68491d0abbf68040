"""What a series' page is drawn from: plain values, columns of nights. Made of the site's data; no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from harness.analysis.decision import DecisionOptions
from harness.analysis.outcome_series import outcome_level
from harness.analysis.series import (
    OUTCOME,
    PARALLEL_NIGHTS,
    CaseHistory,
    Segment,
    SeriesKey,
    identity_change,
    identity_differences,
)
from harness.core.phone import PhoneKind
from harness.report.metric_words import metric_text
from harness.report.series_picture import ABSENT, Mark
from harness.report.site.data import SiteData
from harness.report.site.pages import content_digest, series_page, trial_page
from harness.report.site.series_trials import NightTrials
from harness.report.site.series_verdicts import VerdictView, clean, show_command, verdict_view
from harness.report.verdict_words import night_rows
from harness.report.words import MISSING

MAX_LISTED_TRIALS = 60
"""Of a night; how many more there are is told."""


@dataclass(frozen=True)
class CaseNights:
    """The nights of a case, oldest first; tuples go along with each other. Its series share them."""

    days: tuple[int, ...]
    """As ordinals of dates."""
    segments: tuple[int, ...]
    """From 1; ABSENT: the case did not run."""
    anchors: tuple[str, ...]
    """Ids of the table's rows."""
    ran: tuple[int, ...]
    outcomes: tuple[tuple[tuple[str, int], ...], ...]
    builds: tuple[str, ...]
    changes: tuple[str, ...]
    trials: tuple[tuple[str, ...], ...]
    """As they are shown."""
    unlisted: tuple[int, ...]
    """How many trials beyond those."""
    linked: tuple[tuple[str, str], ...]
    """Shown trial and the name of its page, of those that have one."""
    lanes: tuple[int, ...]
    """Of each segment."""
    lane_names: tuple[str, ...]
    """What tells the lanes apart; empty: there is one."""
    lines: tuple[Mark, ...]
    """Where another thing is measured than before."""
    current: tuple[int, ...]
    """Segments that no other one has followed."""


@dataclass(frozen=True)
class Figures:
    """Of one metric, along with the case's nights; None: there is none. In the record's unit."""

    values: tuple[float | None, ...]
    lower: tuple[float | None, ...]
    upper: tuple[float | None, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class SeriesContent:
    """Everything that a series' page shows."""

    page: str
    text: str
    """The series' own."""
    metric: str
    case: str
    device: str
    suite: str
    virtual: bool
    demo: bool
    night: str
    """As of which it is."""
    command: str
    min_trials: int
    decision: DecisionOptions
    nights: CaseNights = field(repr=False)
    nights_digest: str
    """Stands for them in the content's identity: the case's series have them in common."""
    figures: Figures | None
    """None: it is about outcomes."""
    marks: tuple[Mark, ...]
    """Changes of the usual end; those of a level are found from the figures."""
    verdicts: tuple[VerdictView, ...]
    siblings: tuple[tuple[str, str], ...]
    """The case's other series: what it is called, and its page."""


def contents(data: SiteData, linked: frozenset[str]) -> Iterator[SeriesContent]:
    """One for each series; `linked`: ids of the trials that have a page."""
    trials = NightTrials.of(data)
    for history in data.histories:
        yield from _of_case(data, history, trials, linked)


def _of_case(
    data: SiteData, history: CaseHistory, trials: NightTrials, linked: frozenset[str]
) -> Iterator[SeriesContent]:
    order = _order(history)
    nights = _case_nights(data, history, order, trials, linked)
    digest = content_digest(nights)
    key = history.key
    metrics = [OUTCOME, *_metrics_with_figures(history)]
    changes = _outcome_marks(history)
    for metric in metrics:
        series = key.series(metric)
        verdicts = data.verdicts_of.get(series, ())
        yield SeriesContent(
            page=series_page(series),
            text=clean(series.text),
            metric=metric,
            case=clean(key.case),
            device=clean(key.device_product_type),
            suite=clean(key.suite),
            virtual=key.device_kind == PhoneKind.VIRTUAL,
            demo=key in trials.demo,
            night=str(data.as_of or history.suite_nights[-1]),
            command=show_command(series),
            min_trials=data.options.min_trials,
            decision=data.options.decision,
            nights=nights,
            nights_digest=digest,
            figures=None if metric == OUTCOME else _figures(history, order, metric),
            marks=changes if metric == OUTCOME else (),
            verdicts=tuple(map(verdict_view, verdicts)),
            siblings=tuple((metric_text(one), series_page(_sibling(series, one))) for one in metrics),
        )


def _sibling(series: SeriesKey, metric: str) -> SeriesKey:
    return series.of_case.series(metric)


def _metrics_with_figures(history: CaseHistory) -> list[str]:
    names = history.segments[0].values
    return [name for name in names if any((segment.counts[name] > 0).any() for segment in history.segments)]


_Order = list[tuple[int, int, int]]
"""Night as an ordinal, segment's number, and place among its nights; by night and segment."""


def _order(history: CaseHistory) -> _Order:
    ran = [
        (night.night.toordinal(), number, place)
        for number, segment in enumerate(history.segments, start=1)
        for place, night in enumerate(segment.nights)
    ]
    days = {day for day, _, _ in ran}
    first = min(days)
    missed = [(day, ABSENT, 0) for day in (one.toordinal() for one in history.suite_nights) if day > first]
    return sorted([*ran, *(one for one in missed if one[0] not in days)])


def _case_nights(
    data: SiteData, history: CaseHistory, order: _Order, trials: NightTrials, linked: frozenset[str]
) -> CaseNights:
    rows = iter(night_rows(history, history.key.series(OUTCOME), data.options.min_trials))
    places = [trials.of_segment(history, segment) for segment in history.segments]
    told = [None if segment == ABSENT else next(rows) for _, segment, _ in order]
    of_night = [[] if segment == ABSENT else places[segment - 1][day] for day, segment, _ in order]
    pages = [place for of_one in of_night for place in of_one if trials.ids[place] in linked]
    lanes, names = _lanes(history)
    lines = _lines(history)
    changes = [
        (lines.get((day, segment), ""), "" if row is None else clean(row.changed))
        for (day, segment, _), row in zip(order, told, strict=True)
    ]
    current = history.current()
    return CaseNights(
        days=tuple(day for day, _, _ in order),
        segments=tuple(segment for _, segment, _ in order),
        anchors=tuple(_anchors(order)),
        ran=tuple(0 if row is None else row.trials for row in told),
        outcomes=tuple(() if row is None else tuple(row.outcomes.items()) for row in told),
        builds=tuple(MISSING if row is None else clean(row.build) for row in told),
        changes=tuple("; ".join(filter(None, both)) for both in changes),
        trials=tuple(tuple(clean(trials.shown[one]) for one in ones[:MAX_LISTED_TRIALS]) for ones in of_night),
        unlisted=tuple(max(len(ones) - MAX_LISTED_TRIALS, 0) for ones in of_night),
        linked=tuple((clean(trials.shown[place]), trial_page(trials.ids[place])) for place in pages),
        lanes=lanes,
        lane_names=names,
        lines=tuple(Mark(day, words, None) for (day, _), words in sorted(lines.items())),
        current=tuple(n for n, one in enumerate(history.segments, start=1) if any(one is other for other in current)),
    )


def _anchors(order: _Order) -> Iterator[str]:
    """Ids of the rows: the night's date; of a second segment on the same night, with its number."""
    seen: set[int] = set()
    for day, segment, _ in order:
        night = date.fromordinal(day)
        yield f"n-{night}-{segment}" if day in seen else f"n-{night}"
        seen.add(day)


def _lines(history: CaseHistory) -> dict[tuple[int, int], str]:
    """Where another thing is measured than before: night and segment's number → what differs."""
    found = {}
    for number, segment in enumerate(history.segments, start=1):
        before = history.before(segment)
        if before is not None:
            found[segment.first.toordinal(), number] = clean(identity_change(before.identity, segment.identity))
        for night, other in _returns(history, segment):
            found[night.toordinal(), number] = clean(f"back: {identity_change(other.identity, segment.identity)}")
    return found


def _returns(history: CaseHistory, segment: Segment) -> Iterator[tuple[date, Segment]]:
    """Nights on which the segment goes on after others had nights of their own, and the last of those."""
    others = [one for one in history.segments if one is not segment]
    for last, again in pairwise(night.night for night in segment.nights):
        if (again - last).days <= PARALLEL_NIGHTS:
            continue
        between = [(day, number) for number, one in enumerate(others) for day in one.dates if last < day < again]
        if len({day for day, _ in between}) >= PARALLEL_NIGHTS:
            yield again, others[max(between)[1]]


def _lanes(history: CaseHistory) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """A lane for each segment, another one for what runs beside it; and what tells the lanes apart."""
    lanes: list[list[Segment]] = []
    numbers = []
    for segment in history.segments:
        free = (
            number
            for number, ones in enumerate(lanes)
            if all(len(one.dates & segment.dates) < PARALLEL_NIGHTS for one in ones)
        )
        number = next(free, len(lanes))
        if number == len(lanes):
            lanes.append([])
        lanes[number].append(segment)
        numbers.append(number)
    last = [ones[-1].identity for ones in lanes]
    names = tuple(clean(identity_differences(one, last)) for one in last) if len(lanes) > 1 else ()
    return tuple(numbers), names


def _outcome_marks(history: CaseHistory) -> tuple[Mark, ...]:
    changes = [change for segment in history.segments for change in outcome_level(segment.nights).changes]
    return tuple(Mark(one.since.toordinal(), f"{one.before} → {one.after}", one.worse) for one in changes)


def _figures(history: CaseHistory, order: _Order, metric: str) -> Figures:
    values = [segment.values[metric].tolist() for segment in history.segments]
    quartiles = [segment.quartiles[metric].tolist() for segment in history.segments]
    counts = [segment.counts[metric].tolist() for segment in history.segments]
    nothing = (math.nan, (math.nan, math.nan), 0)
    rows = [
        nothing
        if segment == ABSENT
        else (values[segment - 1][place], quartiles[segment - 1][place], counts[segment - 1][place])
        for _, segment, place in order
    ]
    return Figures(
        values=tuple(_known(value) for value, _, _ in rows),
        lower=tuple(_known(low) for _, (low, _), _ in rows),
        upper=tuple(_known(high) for _, (_, high), _ in rows),
        counts=tuple(count for _, _, count in rows),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

"""The table of what loads where: device class × model × backend, as of last night. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from harness.analysis.metrics import DEFAULT_METRICS
from harness.analysis.outcome_series import Fate, fate_of
from harness.analysis.series import IDENTITY, OUTCOME, CaseHistory, Segment
from harness.core.outcome import EMULATED_GPU, Outcome, ends_text
from harness.core.phone import PhoneKind
from harness.report.site.changes_segments import Judged, judged, last_night
from harness.report.site.data import SiteData
from harness.report.site.entry_trials import SHOWN_NIGHTS, CaseFacts, FactsKey, RecentTrials, case_facts
from harness.report.site.pages import series_page

_IDENTITY_PLACE = {name: place for place, name in enumerate(IDENTITY)}


@dataclass(frozen=True)
class Cell:
    """A metric of a case: last night's figure, and how it came to that."""

    metric: str
    value: float | None
    page: str | None
    """Of its series; None: it never had a figure."""
    recent: tuple[float | None, ...]
    """A value a calendar night, oldest first; the last is that of the page's night."""
    lines: tuple[int, ...]
    """Places in `recent` at which something else began to be measured."""


@dataclass(frozen=True)
class Row:
    """A case on a device class."""

    suite: str
    model: str
    backend: str
    options: tuple[str, ...]
    """Engine, cache and whatever else the case has."""
    segment: str
    mark: str
    """`loads`, `falls back`, `dies`, `mixed` or `unknown`: never told by colour alone."""
    ends: str
    """In words."""
    asked: str
    """What the suite has to say of that: expected so, limits broken; mostly empty."""
    night: str | None
    """Whose figures they are, where it is not the page's night."""
    page: str
    """Of the series of its ends."""
    peak: Cell
    limit_bytes: int | None
    others: tuple[Cell, ...]


@dataclass(frozen=True)
class DeviceClass:
    """All cases on one device class; physical and virtual ones are two."""

    kind: str
    device: str
    ios: tuple[str, ...]
    """Versions of the rows' nights."""
    rows: tuple[Row, ...]
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    classes: tuple[DeviceClass, ...]
    """Physical ones first."""
    nights: int
    """That a sparkline spans."""
    left_out: int
    """Cases that did not run for so long."""


def matrix(data: SiteData, recent: RecentTrials) -> Matrix:
    """Of all cases that ran in the last SHOWN_NIGHTS."""
    night = last_night(data)
    assert night is not None, "there are trials"
    all_judged = list(judged(data))
    facts = case_facts(recent, {one.segment.last for one in all_judged})
    of_class: dict[tuple[str, str], list[tuple[Judged, Row]]] = {}
    shown = set()
    for one in all_judged:
        if one.segment.last > night - timedelta(days=SHOWN_NIGHTS):
            shown.add(one.key)
            place = one.key.device_kind, one.key.device_product_type
            of_class.setdefault(place, []).append((one, _row(one, night, facts)))
    kinds = {kind.value: place for place, kind in enumerate(PhoneKind)}
    classes = [
        DeviceClass(
            kind=kind,
            device=device,
            ios=tuple(sorted({version for one, _ in ones for version in _ios(one.segment)})),
            rows=tuple(row for _, row in ones),
            suites=tuple(sorted({row.suite for _, row in ones})),
        )
        for (kind, device), ones in sorted(of_class.items(), key=lambda item: (kinds.get(item[0][0], 9), item[0]))
    ]
    return Matrix(tuple(classes), SHOWN_NIGHTS, len(data.histories) - len(shown))


def _ios(segment: Segment) -> tuple[str, ...]:
    return segment.nights[-1].context.get("device_os_version", ())


def _row(one: Judged, night: date, facts: Mapping[FactsKey, Mapping[int, CaseFacts]]) -> Row:
    segment = one.segment
    newest = segment.nights[-1]
    known = _facts(one, facts)
    model, options = _parts(one)
    mark, ends = _ends(newest.outcomes)
    cells = [_cell(one, metric, night) for metric in DEFAULT_METRICS]
    return Row(
        suite=one.key.suite,
        model=model,
        backend=_backend(segment, newest.backends),
        options=options,
        segment=one.label,
        mark=mark,
        ends=ends,
        asked=_asked(newest.outcomes, known, newest.ran),
        night=None if newest.night == night else str(newest.night),
        page=series_page(one.key.series(OUTCOME)),
        peak=cells[0],
        limit_bytes=None if known is None else known.limit_bytes,
        others=tuple(cells[1:]),
    )


def _facts(one: Judged, facts: Mapping[FactsKey, Mapping[int, CaseFacts]]) -> CaseFacts | None:
    settings = str(one.segment.identity[_IDENTITY_PLACE["device_settings"]] or "")
    key = one.key
    place = key.device_kind, key.device_product_type, key.suite, key.case
    newest = one.segment.nights[-1]
    found = [facts.get((*place, version, settings), {}).get(newest.night.toordinal()) for version in _ios(one.segment)]
    return next((each for each in reversed(found) if each is not None), None)


def _parts(one: Judged) -> tuple[str, tuple[str, ...]]:
    """The model, and what else the case's name says, where it is of the form that suites give."""
    engine, backend = (str(one.segment.identity[_IDENTITY_PLACE[name]]) for name in ("engine", "backend_requested"))
    parts = one.key.case.split("/")
    if len(parts) >= 4 and parts[1:3] == [engine, backend]:
        return parts[0], (engine, *parts[3:])
    return one.key.case, ()


def _backend(segment: Segment, effective: Mapping[str, int]) -> str:
    asked = str(segment.identity[_IDENTITY_PLACE["backend_requested"]])
    return f"{asked} (emulated)" if EMULATED_GPU in effective else asked


def _ends(outcomes: Mapping[str, int]) -> tuple[str, str]:
    """A mark, and words: `5 × loaded`."""
    words = ends_text(outcomes.items())
    fates = {fate_of(name) for name in outcomes} - {None}
    if len(fates) != 1:
        return ("mixed" if fates else "unknown"), words
    return {Fate.LOADED: "loads", Fate.FELL_BACK: "falls back", Fate.DIED: "dies"}[fates.pop() or Fate.LOADED], words


def _asked(outcomes: Mapping[str, int], known: CaseFacts | None, ran: int) -> str:
    if known is None:
        return ""
    expected = known.expected not in (None, Outcome.LOADED.value) and set(outcomes) == {known.expected}
    told = ["as the suite expects"] if expected else []
    if known.expected not in (None, Outcome.LOADED.value) and not expected:
        told.append(f"the suite expects {known.expected}")
    if known.over_limits:
        told.append(f"over the suite's limits: {known.over_limits} of {ran}")
    return "; ".join(told)


def _cell(one: Judged, metric: str, night: date) -> Cell:
    recent, lines = _recent(one.history, one.segment, metric, night)
    ever = any(not math.isnan(value) for segment in one.history.segments for value in segment.values[metric])
    value = float(one.segment.values[metric][-1])
    return Cell(
        metric=metric,
        value=None if math.isnan(value) else value,
        page=series_page(one.key.series(metric)) if ever else None,
        recent=recent,
        lines=lines,
    )


def _recent(
    history: CaseHistory, segment: Segment, metric: str, night: date
) -> tuple[tuple[float | None, ...], tuple[int, ...]]:
    """Values of the calendar nights up to `night`: of the segment, and of those that ended before it; and the lines."""
    beside = [one for one in history.current() if one is not segment]
    ended = [one for one in history.segments if one is not segment and one not in beside]
    first = night.toordinal() - SHOWN_NIGHTS + 1
    values: list[float | None] = [None] * SHOWN_NIGHTS
    whose: list[int | None] = [None] * SHOWN_NIGHTS
    for number, one in enumerate([*ended, segment]):
        figures = one.values[metric]
        for index in range(len(one.nights) - 1, -1, -1):
            place = one.nights[index].night.toordinal() - first
            if place < 0:
                break
            value = float(figures[index])
            if not math.isnan(value):
                values[place], whose[place] = value, number
    known = [(place, number) for place, number in enumerate(whose) if number is not None]
    lines = tuple(place for (_, before), (place, number) in pairwise(known) if number != before)
    return tuple(values), lines

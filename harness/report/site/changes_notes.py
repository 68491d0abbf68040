"""Neutral notes on last night: what else is measured than the night before, new cases, suites that did not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from harness.analysis.series import CaseHistory, Night, Segment, context_changes, identity_change
from harness.core.judgement import VerdictKind
from harness.report.site.changes_segments import Calendar, SuiteClass, judged, last_night, suite_class
from harness.report.site.data import SiteData


@dataclass(frozen=True)
class Note:
    """Something that changed, and is neither better nor worse."""

    text: str
    device_kind: str
    suite: str
    devices: tuple[tuple[str, tuple[str, ...]], ...]
    """Device class → which cases; empty: all of the suite's."""
    line: bool
    """Whether series begin anew with it."""
    since: str | None = None
    """Its first night; None: last night."""


def notes(data: SiteData) -> tuple[Note, ...]:
    """Lines first; what several cases and device classes of a suite share is told once."""
    night = last_night(data)
    if night is None:
        return ()
    calendar = Calendar.of(data, night)
    ran: Counter[tuple[SuiteClass, bool]] = Counter()
    told: dict[tuple[SuiteClass, str, bool], list[str]] = {}
    cases_of = Counter(suite_class(history.key) for history in data.histories)
    for history in data.histories:
        where, last = suite_class(history.key), history.suite_nights[-1]
        if not calendar.is_news(where, last):
            continue
        for line, texts in _of_case(history, last):
            ran[where, line] += 1
            for text in texts:
                told.setdefault((where, text, line), []).append(history.key.case)
    found: dict[tuple[str, str, str, bool], list[tuple[str, tuple[str, ...]]]] = {}
    for (where, text, line), cases in told.items():
        kind, device, suite = where
        # a note on what goes on is about all that goes on
        of = cases_of[where] if line else ran[where, False]
        found.setdefault((kind, suite, text, line), []).append((device, () if len(cases) == of else tuple(cases)))
    ones = [Note(text, kind, suite, tuple(devices), line) for (kind, suite, text, line), devices in found.items()]
    return (*sorted(ones, key=lambda one: (not one.line, one.device_kind, one.suite, one.text)), *_young(data, night))


def _young(data: SiteData, night: date) -> Iterator[Note]:
    """What began to be measured on an earlier night, and has no level of its own yet."""
    found: dict[tuple[date, str, str, str], dict[str, list[str]]] = {}
    cases_of = Counter(suite_class(history.key) for history in data.histories)
    for one in judged(data):
        began, before = one.segment.first, one.history.before(one.segment)
        young = any(verdict.kind is VerdictKind.INCOMPARABLE for verdict in one.verdicts)
        if young and before is not None and began < night and one.segment.last == night:
            text = identity_change(before.identity, one.segment.identity)
            devices = found.setdefault((began, one.key.device_kind, one.key.suite, text), {})
            devices.setdefault(one.key.device_product_type, []).append(one.key.case)
    for (began, kind, suite, text), devices in sorted(found.items(), reverse=True):
        told = tuple(
            (device, () if len(cases) == cases_of[kind, device, suite] else tuple(cases))
            for device, cases in devices.items()
        )
        yield Note(text, kind, suite, told, line=True, since=str(began))


def idle_suites(data: SiteData) -> tuple[Note, ...]:
    """Suites that did not run last night, and need not have."""
    night = last_night(data)
    if night is None:
        return ()
    calendar = Calendar.of(data, night)
    found: dict[tuple[str, str, str], list[tuple[str, tuple[str, ...]]]] = {}
    for (kind, device, suite), nights in sorted(calendar.nights.items()):
        where = kind, device, suite
        if calendar.stood_still(where) and not calendar.is_missed(where, data.options.retired_nights):
            found.setdefault((kind, suite, f"did not run on {night}, last on {nights[-1]}"), []).append((device, ()))
    return tuple(Note(text, kind, suite, tuple(ones), line=False) for (kind, suite, text), ones in found.items())


def _of_case(history: CaseHistory, last: date) -> list[tuple[bool, list[str]]]:
    """Of each of its segments that were measured last night: whether it begins anew, and what is to be told."""
    found: list[tuple[bool, list[str]]] = []
    for segment in history.segments:
        if segment.last != last:
            continue
        before = _followed(history, segment)
        if before is not None:
            found.append((True, [identity_change(before.identity, segment.identity)]))
        elif len(segment.nights) == 1:
            only = len(history.segments) == 1
            found.append((True, ["first night" if only else "measured for the first time beside what is there"]))
        else:
            found.append((False, _context(*segment.nights[-2:])))
    return found


def _followed(history: CaseHistory, segment: Segment) -> Segment | None:
    """The one whose nights ended with last night's segment; None: it goes on, or runs beside others."""
    before = segment.nights[-2].night if len(segment.nights) > 1 else date.min
    others = [one for one in history.segments if one is not segment and before < one.last < segment.last]
    return max(others, key=lambda one: one.last, default=None)


def _context(before: Night, after: Night) -> list[str]:
    """iOS, and the name of the build; which of its names the records have is no matter."""
    changes = context_changes(before, after, ("device_os_version", "build", "app_commit", "app_build"))
    ios = [f"iOS {changes['device_os_version']}"] if "device_os_version" in changes else []
    build = next((f"{word} {changes[name]}" for name, word in _BUILD_WORDS.items() if name in changes), None)
    return [*ios, *([build] if build else [])]


_BUILD_WORDS = {"build": "build", "app_commit": "app's commit", "app_build": "app"}

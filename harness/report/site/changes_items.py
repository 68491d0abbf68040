"""Items of the entry's lists: their shapes, and how verdicts become one. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from harness.analysis.outcome_series import fate_of
from harness.analysis.series import OUTCOME, CaseKey
from harness.analysis.verdict import Verdict
from harness.core.judgement import VerdictKind
from harness.report.site.changes_segments import Calendar, Judged, SuiteClass
from harness.report.site.changes_words import (
    builds_text,
    confirmation_text,
    heading_of,
    owner_text,
    suspects_of,
    tone_of,
)
from harness.report.site.pages import series_page


@dataclass(frozen=True)
class Where:
    """Which case, on which phones; `case` is empty where all of the suite's are meant."""

    device_kind: str
    device: str
    suite: str
    case: str = ""
    segment: str = ""

    @classmethod
    def of(cls, key: CaseKey, segment: str) -> Where:
        return cls(key.device_kind, key.device_product_type, key.suite, key.case, segment)


@dataclass(frozen=True)
class Member:
    """One series of an item."""

    metric: str
    page: str
    verdict: str
    new: bool
    before: float | str | None
    after: float | str | None
    shift: float | None
    since: str
    words: str


@dataclass(frozen=True)
class Event:
    """One item of a list."""

    heading: str
    tone: str
    """`worse`, `better` or `unsure`."""
    where: Where
    page: str | None
    """Of the series that tells most."""
    since: str
    seen: str | None
    night: str
    """As of which it is told."""
    members: tuple[Member, ...] = ()
    silent: tuple[str, ...] = ()
    """Metrics that have no figure because of it."""
    all_silent: bool = False
    """They are all that the case has."""
    all_new: bool = False
    """Every member is told for the first time."""
    builds: str = ""
    """Between which ones it happened."""
    suspects: tuple[tuple[str, str], ...] = ()
    confirmation: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What re-runs say → of which metrics."""
    owner: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What persons say → of which metrics."""
    words: str = ""


def change_item(one: Judged, cluster: Sequence[Verdict], fresh: Sequence[Verdict], silent: Sequence[str]) -> Event:
    """Of changes that are one. `fresh`: those that are told for the first time; `silent`: metrics without a figure."""
    verdicts = sorted(cluster, key=lambda verdict: (verdict.series.metric != OUTCOME, verdict.rank))
    lead = min(verdicts, key=lambda verdict: verdict.rank)
    worse = [verdict for verdict in verdicts if not is_better(verdict)]
    members = tuple(_member(verdict, new=verdict in fresh) for verdict in verdicts)
    return Event(
        heading=heading_of(lead),
        tone=tone_of(lead),
        where=Where.of(one.key, one.label),
        page=series_page(lead.series),
        since=str(lead.since or ""),
        seen=None if lead.seen is None else str(lead.seen),
        night=str(one.night),
        members=members,
        all_new=all(member.new for member in members),
        silent=tuple(name for name in silent if name != OUTCOME),
        all_silent=len(set(silent) | {OUTCOME}) == len(one.verdicts),
        builds=builds_text(lead),
        suspects=suspects_of(lead),
        confirmation=_by_text((confirmation_text(verdict), verdict.series.metric) for verdict in verdicts),
        owner=_by_text((owner_text(verdict), verdict.series.metric) for verdict in worse),
    )


def _by_text(told: Iterable[tuple[str | None, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    metrics: dict[str, list[str]] = {}
    for text, metric in told:
        if text is not None:
            metrics.setdefault(text, []).append(metric)
    return tuple((text, tuple(names)) for text, names in metrics.items())


def _member(verdict: Verdict, *, new: bool) -> Member:
    return Member(
        metric=verdict.series.metric,
        page=series_page(verdict.series),
        verdict=str(verdict.kind),
        new=new,
        before=verdict.before,
        after=verdict.after,
        shift=verdict.shift,
        since=str(verdict.since or ""),
        words=verdict.words,
    )


def plain_item(one: Judged, lead: Verdict, heading: str, since: date, silent: Sequence[str] = ()) -> Event:
    """One without levels, told by its verdict's words."""
    return Event(
        heading=heading,
        tone="unsure",
        where=Where.of(one.key, one.label),
        page=series_page(lead.series),
        since=str(since),
        seen=None,
        night=str(one.night),
        silent=tuple(silent),
        words=lead.words,
    )


def class_missing_item(where: SuiteClass, calendar: Calendar) -> Event:
    """A device class on which nothing of a suite ran."""
    last = calendar.nights[where][-1]
    return Event(
        heading="Missing",
        tone="unsure",
        where=Where(*where),
        page=None,
        since=str(calendar.missed_since(where)),
        seen=None,
        night=str(calendar.night),
        words=f"the suite did not run on this device class, last on {last}",
    )


def is_better(verdict: Verdict) -> bool:
    """Whether the change is for the better; across a line, only that a case lives again is told."""
    return verdict.kind is VerdictKind.IMPROVED or lives_since_a_line(verdict)


def lives_since_a_line(verdict: Verdict) -> bool:
    """Whether the case died, or fell back, before something else began to be measured, and no longer does."""
    incomparable = verdict.kind is VerdictKind.INCOMPARABLE and verdict.series.metric == OUTCOME
    if not incomparable or not isinstance(verdict.before, str) or not isinstance(verdict.after, str):
        return False
    before, after = fate_of(verdict.before), fate_of(verdict.after)
    return before is not None and after is not None and after < before

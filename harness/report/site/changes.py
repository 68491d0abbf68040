"""What the nights say, as lists that a person reads: what of a case changed at once is one item. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from harness.analysis.decision import SAME_CHANGE_NIGHTS
from harness.analysis.outcome_series import Fate, fate_of
from harness.analysis.series import OUTCOME, nights_between
from harness.analysis.verdict import Verdict
from harness.core.judgement import ConfirmationResult, TriageState, VerdictKind
from harness.report.site.changes_items import (
    Event,
    change_item,
    class_missing_item,
    is_better,
    lives_since_a_line,
    plain_item,
)
from harness.report.site.changes_segments import Calendar, Judged, judged, last_night, suite_class
from harness.report.site.data import SiteData

Rank = tuple[int, int, float, str]
_MISSING_RANK: Rank = (5, 0, 0.0, "")
"""Where verdicts that are missing stand."""


@dataclass(frozen=True)
class Changes:
    """All lists, the worst first in each."""

    tonight: tuple[Event, ...] = ()
    still: tuple[Event, ...] = ()
    """Open for longer."""
    absent: tuple[Event, ...] = ()
    """Missing for longer."""
    known: tuple[Event, ...] = ()
    """Acknowledged, said to be fixed, accepted, or refuted by a re-run."""
    better: tuple[Event, ...] = ()
    """Improved, and told for some nights."""
    unsure: tuple[Event, ...] = ()
    """Too little to call it a change."""


def changes(data: SiteData) -> Changes:
    """What there is to be told of last night, and of what is open since earlier ones."""
    night = last_night(data)
    if night is None:
        return Changes()
    calendar = Calendar.of(data, night)
    lists: dict[str, list[tuple[Rank, Event]]] = {}
    for one in judged(data):
        for rank, name, event in _of_case(one, calendar):
            lists.setdefault(name, []).append((rank, event))
    for where in calendar.nights:
        if calendar.is_missed(where, data.options.retired_nights):
            event = class_missing_item(where, calendar)
            name = "tonight" if event.since == str(night) else "absent"
            lists.setdefault(name, []).append((_MISSING_RANK, event))
    ordered = {name: sorted(ones, key=lambda one: (one[0], one[1].where.case)) for name, ones in lists.items()}
    return Changes(**{name: tuple(event for _, event in ones) for name, ones in ordered.items()})


def _of_case(one: Judged, calendar: Calendar) -> Iterator[tuple[Rank, str, Event]]:
    """Rank, name of the list, item."""
    told = [verdict for verdict in one.verdicts if _is_change(verdict)]
    silent = [
        verdict
        for verdict in one.verdicts
        if verdict.kind is VerdictKind.MISSING and not one.has_figure(verdict.series.metric)
    ]
    died = one.outcome is not None and _is_dead(one.outcome)
    for cluster in _clusters(told):
        explains = died and one.outcome in cluster
        because = [verdict.series.metric for verdict in silent] if explains else []
        silent = [] if explains else silent
        fresh = [verdict for verdict in cluster if _is_news(verdict, one, calendar)]
        item = change_item(one, cluster, fresh, because)
        yield min(verdict.rank for verdict in cluster), "tonight" if fresh else _list_of(cluster), item
    if calendar.stood_still(suite_class(one.key)):
        return
    yield from _missing(one, silent, calendar)
    if not silent:
        yield from _unsure(one, told)


def _is_change(verdict: Verdict) -> bool:
    if verdict.kind in (VerdictKind.REGRESSED, VerdictKind.IMPROVED):
        return True
    if verdict.since is None:
        return False
    if verdict.kind is VerdictKind.INCOMPARABLE:
        return verdict.loud or lives_since_a_line(verdict)
    if verdict.kind is VerdictKind.NOISY:
        return verdict.loud or _is_refuted(verdict)
    return verdict.kind is VerdictKind.SAME and _state(verdict) is TriageState.WONT_FIX


def _is_dead(outcome: Verdict) -> bool:
    return isinstance(outcome.after, str) and fate_of(outcome.after) is not Fate.LOADED


def _is_refuted(verdict: Verdict) -> bool:
    return verdict.confirmation is not None and verdict.confirmation.result is ConfirmationResult.REFUTED


def _state(verdict: Verdict) -> TriageState | None:
    return None if verdict.triage is None else verdict.triage.state


def _clusters(told: Sequence[Verdict]) -> list[list[Verdict]]:
    """Changes that began within a few nights of one another: their first nights are estimates."""
    clusters: list[list[Verdict]] = []
    for verdict in sorted(told, key=lambda one: one.since or date.min):
        first = clusters[-1][0].since if clusters else None
        if first and verdict.since and nights_between(first, verdict.since) <= SAME_CHANGE_NIGHTS:
            clusters[-1].append(verdict)
        else:
            clusters.append([verdict])
    return clusters


def _list_of(cluster: Sequence[Verdict]) -> str:
    """Of what is not told for the first time."""
    if any(verdict.is_open or (verdict.loud and not _is_settled(verdict)) for verdict in cluster):
        return "still"
    return "better" if all(is_better(verdict) for verdict in cluster) else "known"


def _is_settled(verdict: Verdict) -> bool:
    """Somebody, or a re-run, has said what it is."""
    return _is_refuted(verdict) or (not verdict.is_open and verdict.triage is not None)


def _is_news(verdict: Verdict, one: Judged, calendar: Calendar) -> bool:
    if not calendar.is_news(suite_class(one.key), verdict.night):
        return False
    if verdict.kind is VerdictKind.INCOMPARABLE:
        return verdict.since == verdict.night
    return verdict.new and verdict.kind in (VerdictKind.REGRESSED, VerdictKind.IMPROVED)


def _missing(one: Judged, silent: Sequence[Verdict], calendar: Calendar) -> Iterator[tuple[Rank, str, Event]]:
    by_night: dict[date, list[Verdict]] = {}
    for verdict in silent:
        by_night.setdefault(one.silent_since(verdict.series.metric), []).append(verdict)
    whole = next((since for since, ones in by_night.items() if any(v.series.metric == OUTCOME for v in ones)), None)
    for since, verdicts in by_night.items():
        if whole is not None and since < whole:
            # a figure that had gone before the case itself is missing is no item beside it
            continue
        lead = min(verdicts, key=lambda verdict: (verdict.series.metric != OUTCOME, verdict.rank))
        names = [verdict.series.metric for verdict in verdicts]
        if lead.series.metric == OUTCOME:
            item = plain_item(one, lead, "Missing", since)
        elif one.outcome is not None and one.outcome.kind is VerdictKind.NOISY:
            # too few deaths to call it one, and they took the figures
            item = plain_item(one, one.outcome, "Missing", since, names)
        else:
            item = plain_item(one, lead, "No figure", since, names)
        fresh = since == one.night and calendar.is_news(suite_class(one.key), one.night)
        yield lead.rank, "tonight" if fresh else "absent", item


def _unsure(one: Judged, told: Sequence[Verdict]) -> Iterator[tuple[Rank, str, Event]]:
    """Some trials died, or too few loaded: no change, and worth a look."""
    outcome = one.outcome
    if outcome is not None and outcome.kind is VerdictKind.NOISY and outcome not in told:
        yield outcome.rank, "unsure", plain_item(one, outcome, "Some trials died", one.night)
        return
    short = [verdict for verdict in one.verdicts if _is_short(verdict)]
    if short and not told:
        names = [verdict.series.metric for verdict in short]
        yield short[0].rank, "unsure", plain_item(one, short[0], "Too few trials", one.night, names)


def _is_short(verdict: Verdict) -> bool:
    """Its night has a figure, of too few trials; one of too few nights has no smallest step."""
    return verdict.kind is VerdictKind.MISSING and verdict.detectable_shift is not None

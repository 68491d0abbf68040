"""What a verdict is, and what has been said of the change that it tells. `verdicts` makes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TypeVar

from harness.analysis.decision import SAME_CHANGE_NIGHTS, DecisionOptions
from harness.analysis.series import BUILD_COLUMNS, OUTCOME, Night, SeriesKey, nights_between
from harness.core.judgement import MIN_TRIALS, NIGHT_STARTS_UTC, Confirmation, Triage, TriageState, VerdictKind

FIXED_MUST_SHOW_NIGHTS = 3
"""A change that was said to be fixed is open again when so many later nights still show the level."""


@dataclass(frozen=True)
class VerdictOptions:
    """The settings of verdicts; docs/nightly.md says why each."""

    decision: DecisionOptions = field(default_factory=DecisionOptions)
    min_trials: int = MIN_TRIALS
    """Of a night; a median of fewer is kept, and marked short."""
    news_nights: int = 7
    """An improvement is told for so long; then it is what is usual."""
    retired_nights: int = 14
    """A case that did not run for so many nights of its suite is no longer missed."""
    night_starts_utc: time = NIGHT_STARTS_UTC


@dataclass(frozen=True)
class BuildLabel:
    """What was under test in a night; None: the records do not say."""

    build: str | None
    app_build: str | None
    app_commit: str | None

    @classmethod
    def last_of(cls, night: Night) -> BuildLabel:
        return cls(*((night.context.get(name) or (None,))[-1] for name in BUILD_COLUMNS))

    @classmethod
    def first_of(cls, night: Night) -> BuildLabel:
        return cls(*((night.context.get(name) or (None,))[0] for name in BUILD_COLUMNS))

    @property
    def words(self) -> str:
        """The name that its user gave it, else the commit, else the digest; `unknown` without any."""
        return self.build or self.app_commit or self.app_build or "unknown"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a series says as of a night."""

    series: SeriesKey
    kind: VerdictKind
    night: date
    """As of which it is."""
    words: str
    """Why, for a person."""
    segment: str = ""
    """What tells this verdict's segment from others that are measured beside it; empty when there is one."""
    since: date | None = None
    """First night of the change."""
    seen: date | None = None
    """Night on which it could first be told."""
    new: bool = False
    """It is told tonight for the first time."""
    alarm: str | None = None
    """What noticed it: `change point`, `same night` or `outcome`."""
    before: float | str | None = None
    """Level before the change, in the record's unit; the outcome in a series of outcomes."""
    after: float | str | None = None
    """Level since; without a change the present level."""
    shift: float | None = None
    """`after / before - 1`."""
    last_good: BuildLabel | None = None
    """Of the last night before the change."""
    first_bad: BuildLabel | None = None
    """Of the first night since."""
    suspects: Mapping[str, str] = field(default_factory=dict)
    """What else the records say to have changed between these two nights: column → `old → new`."""
    detectable_shift: float | None = None
    """The smallest step that would be found."""
    recent: tuple[float | None, ...] = ()
    """The last nights' values; None: no figure."""
    confirmation: Confirmation | None = None
    triage: Triage | None = None
    is_open: bool = False
    """Regressed, and nobody has said that it is known, fixed or accepted."""
    loud: bool = False
    """About the case's end and not about a figure, and for the worse."""

    @property
    def rank(self) -> tuple[int, int, float, str]:
        """Sorts the worst first."""
        order = {
            VerdictKind.REGRESSED: 2 if self.is_open else 4,
            VerdictKind.INCOMPARABLE: 7,
            VerdictKind.MISSING: 5,
            VerdictKind.NOISY: 6,
            VerdictKind.IMPROVED: 8,
            VerdictKind.SAME: 9,
        }[self.kind]
        if self.loud and order > 2:
            order = min(order, 3)
        outcome = 0 if self.series.metric == OUTCOME else 1
        if order == 2:
            return (0 if outcome == 0 else 2, 0 if self.new else 1, -abs(self.shift or 0.0), self.series.text)
        return (order, outcome, -abs(self.shift or 0.0), self.series.text)


def failing(verdicts: Iterable[Verdict], kinds: Iterable[VerdictKind]) -> list[Verdict]:
    """Those of the given kinds; a regression that is known, fixed of late, or refuted is none."""
    wanted = set(kinds)
    return [one for one in verdicts if one.kind in wanted and (one.is_open or one.kind is not VerdictKind.REGRESSED)]


_Note = TypeVar("_Note", Triage, Confirmation)


@dataclass(frozen=True)
class Notes:
    """All that persons and re-runs have said, by series."""

    triage: Mapping[str, tuple[Triage, ...]] = field(default_factory=dict)
    confirmations: Mapping[str, tuple[Confirmation, ...]] = field(default_factory=dict)
    night_starts_utc: time = NIGHT_STARTS_UTC

    @classmethod
    def made(
        cls,
        triage: Iterable[Triage],
        confirmations: Iterable[Confirmation],
        *,
        as_of: date | None = None,
        night_starts_utc: time = NIGHT_STARTS_UTC,
    ) -> Notes:
        """What had been said by the end of the night `as_of`; None: everything."""

        def known(notes: Iterable[_Note]) -> dict[str, tuple[_Note, ...]]:
            by_series: dict[str, list[_Note]] = {}
            for note in sorted(notes, key=lambda one: one.at):
                if as_of is None or night_of(note.at, night_starts_utc) <= as_of:
                    by_series.setdefault(note.series, []).append(note)
            return {series: tuple(of_series) for series, of_series in by_series.items()}

        return cls(known(triage), known(confirmations), night_starts_utc)

    def on(self, series: SeriesKey, first_bad: date, tonight: date, later_nights: Iterable[date]) -> Said:
        """What has been said of the change that began on `first_bad`; `later_nights`: those with figures since."""
        triage = _newest(self.triage.get(series.text, ()), first_bad)
        confirmation = _newest(self.confirmations.get(series.text, ()), first_bad)
        state = TriageState.OPEN if triage is None else triage.state
        reopened = False
        if triage is not None and state is TriageState.FIXED:
            said = night_of(triage.at, self.night_starts_utc)
            reopened = sum(said < night <= tonight for night in later_nights) >= FIXED_MUST_SHOW_NIGHTS
        return Said(triage, confirmation, TriageState.OPEN if reopened else state, reopened)


@dataclass(frozen=True)
class Said:
    """What has been said of one change."""

    triage: Triage | None
    confirmation: Confirmation | None
    state: TriageState
    reopened: bool
    """It was said to be fixed, and the nights since say that it is not."""


def _newest(notes: tuple[_Note, ...], first_bad: date) -> _Note | None:
    near = [note for note in notes if abs(nights_between(note.first_bad, first_bad)) <= SAME_CHANGE_NIGHTS]
    return near[-1] if near else None


def night_of(moment: datetime, starts: time) -> date:
    """The night in which a moment (UTC) lies."""
    return (moment - timedelta(hours=starts.hour, minutes=starts.minute)).date()

"""The verdict on one metric of one segment. Pure; `verdicts` calls it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.analysis.change_points import FloatArray, relative_shift
from harness.analysis.decision import SAME_CHANGE_NIGHTS, AlarmBy, Decision, Step, decide
from harness.analysis.metrics import Metric
from harness.analysis.series import (
    BUILD_COLUMNS,
    CONTEXT,
    CaseHistory,
    Night,
    Segment,
    context_changes,
    identity_change,
)
from harness.analysis.verdict import BuildLabel, Notes, Said, Verdict, VerdictOptions
from harness.core.judgement import ConfirmationResult, TriageState, VerdictKind
from harness.core.outcome import ends_text
from harness.core.text import percent

RECENT_NIGHTS = 14
"""Values that a verdict carries."""
_NEWS_LAG_NIGHTS = 30
"""A change that was not told within so many nights is no news any more."""


@dataclass(frozen=True)
class MetricNights:
    """The nights of a segment on which a metric has a figure."""

    segment: Segment
    metric: Metric
    options: VerdictOptions

    @cached_property
    def has(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.segment.values[self.metric.name])

    @cached_property
    def values(self) -> FloatArray:
        values: FloatArray = self.segment.values[self.metric.name][self.has]
        return values

    @cached_property
    def quartiles(self) -> FloatArray:
        quartiles: FloatArray = self.segment.quartiles[self.metric.name][self.has]
        return quartiles

    @cached_property
    def short(self) -> list[bool]:
        return [bool(count < self.options.min_trials) for count in self.segment.counts[self.metric.name][self.has]]

    @cached_property
    def nights(self) -> list[Night]:
        return [night for night, has in zip(self.segment.nights, self.has, strict=True) if has]

    def decision(self, nights: int) -> Decision:
        """As of the first so many of them."""
        return decide(
            self.values[:nights],
            self.metric,
            self.options.decision,
            quartiles=self.quartiles[:nights],
            tonight_short=nights > 0 and self.short[nights - 1],
        )

    def seen(self, step: Step) -> int:
        """How many nights it took until the change could first be told."""
        last = len(self.values)
        for nights in range(step.index + 1, last):
            if any(step.is_same_as(one) for one in self.decision(nights).steps):
                return nights
        return last


def metric_verdict(
    history: CaseHistory, segment: Segment, metric: Metric, tonight: date, notes: Notes, options: VerdictOptions
) -> Verdict | None:
    """None: no segment of the case has ever had the metric."""
    key = history.key.series(metric.name)
    nights = MetricNights(segment, metric, options)
    before = _earlier_level(history, segment, metric)
    if not nights.nights:
        if before is None:
            return None
        line = identity_change(before[0].identity, segment.identity)
        words = f"no figure since {segment.first}: {line}"
        return Verdict(series=key, kind=VerdictKind.MISSING, night=tonight, words=words, before=before[1])
    decision = nights.decision(len(nights.values))
    absent = why_absent(segment, tonight) or _why_no_figure(nights, tonight)
    found = Verdict(
        series=key,
        kind=VerdictKind.SAME,
        night=tonight,
        words="",
        after=decision.level,
        detectable_shift=decision.detectable_shift if decision.enough else None,
        recent=recent(segment, metric.name),
    )
    if not decision.enough:
        return _too_few(found, decision, before, segment, absent, options)
    judged = _judged(found, nights, decision, notes, tonight)
    if absent is not None:
        if judged.kind is VerdictKind.REGRESSED:
            return replace(judged, new=False, words=f"{judged.words}; tonight: {absent}")
        return replace(judged, kind=VerdictKind.MISSING, new=False, words=absent)
    if nights.short[-1] and judged.kind in (VerdictKind.SAME, VerdictKind.NOISY):
        count = int(segment.counts[metric.name][-1])
        words = f"{count} of {options.min_trials} trials tonight; {judged.words}"
        return replace(judged, kind=VerdictKind.MISSING, words=words)
    return judged


def why_absent(segment: Segment, tonight: date) -> str | None:
    """Why there is nothing about the model tonight, in words; None: there is something."""
    if segment.last < tonight:
        return f"it did not run tonight, last on {segment.last}"
    return None


def _why_no_figure(nights: MetricNights, tonight: date) -> str | None:
    if nights.nights[-1].night == tonight:
        return None
    night = nights.segment.nights[-1]
    return f"no figure tonight ({ends_text(night.outcomes.items())})"


def recent(segment: Segment, metric: str) -> tuple[float | None, ...]:
    """The last nights' values."""
    return tuple(None if np.isnan(one) else float(one) for one in segment.values[metric][-RECENT_NIGHTS:])


def _earlier_level(history: CaseHistory, segment: Segment, metric: Metric) -> tuple[Segment, float] | None:
    """The segment before, and its last level of the metric."""
    before = history.before(segment)
    if before is None:
        return None
    values = before.values[metric.name]
    known = values[~np.isnan(values)][-RECENT_NIGHTS:]
    return (before, float(np.median(known))) if known.size else None


def _too_few(
    found: Verdict,
    decision: Decision,
    before: tuple[Segment, float] | None,
    segment: Segment,
    absent: str | None,
    options: VerdictOptions,
) -> Verdict:
    so_far = f"{decision.nights} of {options.decision.min_nights} nights"
    tonight = f"; {absent}" if absent else ""
    if before is None:
        return replace(found, kind=VerdictKind.MISSING, words=f"{so_far} that a level takes{tonight}")
    line = identity_change(before[0].identity, segment.identity)
    return replace(
        found,
        kind=VerdictKind.INCOMPARABLE,
        words=f"{line}; {so_far} of its own{tonight}",
        since=segment.first,
        before=before[1],
        shift=relative_shift(before[1], decision.level),
    )


def _judged(found: Verdict, nights: MetricNights, decision: Decision, notes: Notes, tonight: date) -> Verdict:
    """The verdict as if tonight had a figure."""
    if decision.standing:
        return _regressed(found, nights, decision, notes, tonight)
    last = decision.steps[-1] if decision.steps else None
    if last is not None and not last.worse and len(nights.values) - last.index <= _NEWS_LAG_NIGHTS:
        seen = nights.seen(last)
        if len(nights.values) - seen < nights.options.news_nights:
            return _improved(found, nights, decision, last, seen)
    varies = f"a night varies by {percent(decision.noise)}"
    if decision.noisy:
        words = f"{varies}: only steps above {percent(decision.detectable_shift, 0)} would be seen"
        calm = replace(found, kind=VerdictKind.NOISY, words=words)
    else:
        calm = replace(found, words=f"{varies}; a step of {percent(decision.detectable_shift)} would be seen")
    lately = _stood_lately(nights, decision)
    return calm if lately is None else _is_back(calm, nights, *lately)


def _stood_lately(nights: MetricNights, decision: Decision) -> tuple[Step, int] | None:
    """A regression that was told within the last week and that tonight's nights do not bear out, and when it was last.

    A level of a few nights that is gone again leaves no trace in a later look at all nights; but people were told.
    """
    values, metric, options = nights.values, nights.metric, nights.options
    lately = values[-options.news_nights - SAME_CHANGE_NIGHTS :]
    off = [abs(relative_shift(decision.level, float(one))) for one in lately if metric.is_worse(decision.level, one)]
    if max(off, default=0.0) < decision.detectable_shift:
        return None
    for until in range(len(values) - 1, len(values) - options.news_nights - 1, -1):
        standing = nights.decision(until).standing if until > options.decision.min_nights else ()
        if standing:
            return standing[-1], until
    return None


def _is_back(found: Verdict, nights: MetricNights, step: Step, until: int) -> Verdict:
    dates = [night.night for night in nights.nights]
    if step.by is AlarmBy.SAME_NIGHT and until - step.index == 1:
        return replace(found, words=f"the alarm of {dates[step.index]} did not hold; {found.words}")
    words = f"back since {dates[until]}: had regressed on {dates[step.index]}, {_signed(step.shift)}"
    return replace(
        found,
        kind=VerdictKind.IMPROVED,
        words=words,
        since=dates[until],
        seen=dates[until],
        new=until == len(dates) - 1,
        before=step.after,
        shift=relative_shift(step.after, float(found.after)) if isinstance(found.after, float) else None,
    )


def _told(found: Verdict, nights: MetricNights, step: Step, seen: int) -> Verdict:
    """With all that belongs to a change."""
    good, bad = nights.nights[step.index - 1], nights.nights[step.index]
    return replace(
        found,
        since=bad.night,
        seen=nights.nights[seen - 1].night,
        new=seen == len(nights.values),
        alarm=step.by.value,
        before=step.before,
        after=step.after,
        shift=step.shift,
        last_good=BuildLabel.last_of(good),
        first_bad=BuildLabel.first_of(bad),
        suspects=context_changes(good, bad),
    )


def _improved(found: Verdict, nights: MetricNights, decision: Decision, step: Step, seen: int) -> Verdict:
    bad = [one for one, by in decision.recovered if by is step]
    told = replace(_told(found, nights, step, seen), kind=VerdictKind.IMPROVED)
    since = f"since {told.since}"
    if bad:
        regressed = nights.nights[bad[0].index].night
        return replace(told, words=f"back {since}: had regressed on {regressed}, {_signed(bad[0].shift)}")
    return replace(told, words=f"{_signed(step.shift)} {since}{blame(told)}")


def _regressed(found: Verdict, nights: MetricNights, decision: Decision, notes: Notes, tonight: date) -> Verdict:
    dates = [night.night for night in nights.nights]
    said = [(step, notes.on(found.series, dates[step.index], tonight, dates)) for step in decision.standing]
    step, about = max(said, key=lambda one: (_weight(one[1]), one[0].index))
    told = _told(found, nights, step, nights.seen(step))
    partly = "" if decision.steps[-1].worse else ", partly back since"
    also = [one.index for one, of_it in said if one is not step and _weight(of_it) == _OPEN]
    others = "".join(f"; before that on {dates[index]}" for index in also)
    words = f"{_signed(step.shift)} since {told.since}{partly}{others}{blame(told)}"
    return with_said(replace(told, words=words), about, notes)


_OPEN, _KNOWN, _REFUTED, _ACCEPTED = 3, 2, 1, 0


def _weight(said: Said) -> int:
    if said.state is TriageState.WONT_FIX:
        return _ACCEPTED
    if said.state is TriageState.OPEN and not is_refuted(said):
        return _OPEN
    return _REFUTED if is_refuted(said) else _KNOWN


def is_refuted(said: Said) -> bool:
    """Whether the newest re-run found no difference between the builds."""
    return said.confirmation is not None and said.confirmation.result is ConfirmationResult.REFUTED


def with_said(verdict: Verdict, said: Said, notes: Notes) -> Verdict:
    """A regression, in the light of what has been said of it."""
    told = replace(verdict, triage=said.triage, confirmation=said.confirmation)
    triage = said.triage
    if said.state is TriageState.WONT_FIX and triage is not None:
        words = f"accepted by {triage.author} ({triage.reason}): {verdict.words}"
        return replace(told, kind=VerdictKind.SAME, new=False, words=words)
    if is_refuted(said) and said.confirmation is not None:
        words = f"a re-run of both builds refutes it ({said.confirmation.reason}): {verdict.words}"
        return replace(told, kind=VerdictKind.NOISY, words=words)
    words = verdict.words
    if said.confirmation is not None:
        words += f"; re-run: {said.confirmation.result.value.replace('_', ' ')} ({said.confirmation.reason})"
    if said.reopened and triage is not None:
        words += f"; {triage.author} said on {triage.at.date()} that it is fixed: it is not"
    elif triage is not None and said.state is not TriageState.OPEN:
        words += f"; {said.state.value} by {triage.author}: {triage.reason}"
    else:
        words += _has_come_back(verdict, notes)
    return replace(told, kind=VerdictKind.REGRESSED, is_open=said.state is TriageState.OPEN, words=words)


def _has_come_back(verdict: Verdict, notes: Notes) -> str:
    """An earlier change of the series was said to be fixed: this one may be the same again."""
    earlier = [
        note
        for note in notes.triage.get(verdict.series.text, ())
        if note.state is TriageState.FIXED and verdict.since is not None and note.first_bad < verdict.since
    ]
    return f"; one of {earlier[-1].first_bad} was said to be fixed: has it come back?" if earlier else ""


def blame(verdict: Verdict) -> str:
    """What changed between the last night before and the first since, in words."""
    good, bad = verdict.last_good, verdict.first_bad
    if good is None or bad is None:
        return ""
    if good.app_build != bad.app_build or good.build != bad.build:
        told = f", between builds {good.words} and {bad.words}"
    elif good.app_build is not None:
        told = ", with the same app build"
    else:
        told = ""
    others = {name: change for name, change in verdict.suspects.items() if name in _NOT_OF_THE_BUILD}
    return told + "".join(f", {_NOT_OF_THE_BUILD[name]} {change}" for name, change in others.items())


# iOS is told by its version; its build says the same again
_NOT_OF_THE_BUILD = {name: words for name, words in CONTEXT.items() if name not in (*BUILD_COLUMNS, "device_os_build")}


def _signed(shift: float) -> str:
    return percent(shift, sign=True) if math.isfinite(shift) else "from 0"

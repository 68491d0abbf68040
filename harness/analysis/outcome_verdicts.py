"""The verdict on how a case's trials end. Pure; `verdicts` calls it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from harness.analysis.metric_verdicts import blame, why_absent, with_said
from harness.analysis.outcome_series import OutcomeChange, OutcomeLevel, OutcomeNight, fate_of, nights_of, outcome_level
from harness.analysis.series import OUTCOME, CaseHistory, Segment, context_changes, identity_change
from harness.analysis.verdict import BuildLabel, Notes, Verdict, VerdictOptions
from harness.core.judgement import VerdictKind
from harness.core.outcome import ends_text
from harness.core.text import percent

FLIPS_NIGHTS = 14
FLIPS = 3
"""So many changes within so many nights are no change: the case loads and dies by turns."""


def outcome_verdict(
    history: CaseHistory, segment: Segment, tonight: date, notes: Notes, options: VerdictOptions
) -> Verdict:
    """How the trials of the segment end, as of tonight."""
    found = Verdict(series=history.key.series(OUTCOME), kind=VerdictKind.SAME, night=tonight, words="")
    level = outcome_level(segment.nights)
    if not level.nights:
        return replace(found, kind=VerdictKind.MISSING, words=f"no night of {len(segment.nights)} says anything")
    last = level.nights[-1]
    found = replace(found, after=last.outcome_of(last.most))
    absent = why_absent(segment, tonight) or _why_silent(segment, last, tonight)
    judged = _changed(found, segment, level, notes, options) or _unchanged(found, history, segment, level, options)
    if absent is None:
        return judged
    if judged.kind is VerdictKind.REGRESSED:
        return replace(judged, new=False, words=f"{judged.words}; tonight: {absent}")
    return replace(judged, kind=VerdictKind.MISSING, new=False, loud=False, words=absent)


def _why_silent(segment: Segment, last: OutcomeNight, tonight: date) -> str | None:
    if last.night == tonight:
        return None
    return f"tonight's trials say nothing about the model ({ends_text(segment.nights[-1].outcomes.items())})"


def _changed(
    found: Verdict, segment: Segment, level: OutcomeLevel, notes: Notes, options: VerdictOptions
) -> Verdict | None:
    """Regressed, improved, or by turns; None: neither."""
    if not level.changes:
        return None
    change = level.changes[-1]
    told = _told(found, segment, level, change)
    places = [night.place for night in level.nights]
    flips = [one for one in level.changes if len(places) - places.index(one.place) <= FLIPS_NIGHTS]
    if len(flips) >= FLIPS:
        words = f"{len(flips)} changes in {FLIPS_NIGHTS} nights: {change.before} and {change.after} by turns"
        return replace(told, kind=VerdictKind.NOISY, new=False, words=words, loud=True)
    if not change.worse:
        nights_since_seen = sum(told.seen is not None and night.night > told.seen for night in level.nights)
        if nights_since_seen >= options.news_nights:
            return None
        words = f"{change.before} → {change.after} since {change.since}{blame(told)}"
        return replace(told, kind=VerdictKind.IMPROVED, words=words)
    share = f" ({percent(change.share_after, 0)} of the trials since)" if change.flaky else ""
    flaky = "flaky: " if change.flaky else ""
    now = f"; tonight {level.nights[-1].words}" if level.tonight_mixed else ""
    backend = _backend_words(segment, change)
    words = f"{flaky}{change.before} → {change.after}{share}{backend} since {change.since}{now}{blame(told)}"
    dates = [night.night for night in level.nights]
    said = notes.on(found.series, change.since, found.night, dates)
    return with_said(replace(told, words=words, loud=True), said, notes)


def _told(found: Verdict, segment: Segment, level: OutcomeLevel, change: OutcomeChange) -> Verdict:
    good = next(night for night in reversed(segment.nights[: change.place]) if night.night == change.last_before)
    bad = segment.nights[change.place]
    seen = _seen(segment, level, change)
    return replace(
        found,
        since=change.since,
        seen=seen,
        new=seen == level.nights[-1].night,
        alarm=OUTCOME,
        before=change.before,
        after=change.after,
        last_good=BuildLabel.last_of(good),
        first_bad=BuildLabel.first_of(bad),
        suspects=context_changes(good, bad),
    )


def _backend_words(segment: Segment, change: OutcomeChange) -> str:
    """Where the engine ran before and since, if that is what changed."""
    before = next(night for night in segment.nights if night.night == change.last_before).backends
    after = segment.nights[change.place].backends
    if not before or not after or set(before) & set(after):
        return ""
    return f", backend {max(before, key=lambda one: before[one])} → {max(after, key=lambda one: after[one])}"


def _seen(segment: Segment, level: OutcomeLevel, change: OutcomeChange) -> date:
    """The first night on which the change could be told."""
    for night in level.nights:
        if night.place >= change.place:
            known = outcome_level(segment.nights[: night.place + 1]).changes
            if any(one.worse == change.worse and one.place == change.place for one in known):
                return night.night
    return level.nights[-1].night


def _unchanged(
    found: Verdict, history: CaseHistory, segment: Segment, level: OutcomeLevel, options: VerdictOptions
) -> Verdict:
    last = level.nights[-1]
    before = history.before(segment)
    earlier = nights_of(before.nights) if before is not None else []
    if before is not None and earlier and len(level.nights) < options.decision.min_nights:
        line = identity_change(before.identity, segment.identity)
        old = earlier[-1]
        ended = f"{old.words} → {last.words}, " if old.most is not last.most else ""
        words = f"{ended}{line}; {len(level.nights)} of {options.decision.min_nights} nights of its own"
        return replace(
            found,
            kind=VerdictKind.INCOMPARABLE,
            words=words,
            since=segment.first,
            before=old.outcome_of(old.most),
            loud=last.most > old.most,
        )
    if level.tonight_mixed or last.most is not _usual(level):
        words = f"tonight {last.words}; not enough to say that it changed"
        return replace(found, kind=VerdictKind.NOISY, words=words)
    if len(level.nights) == 1:
        return replace(found, kind=VerdictKind.MISSING, words=f"{last.words}; the first night of the case")
    return replace(found, words=f"{last.words}, as before{_another_way(level)}")


def _usual(level: OutcomeLevel) -> object:
    return fate_of(level.changes[-1].after) if level.changes else level.nights[0].most


def _another_way(level: OutcomeLevel) -> str:
    """A case that died before and dies otherwise now is no better and no worse, and worth a word."""
    last = level.nights[-1]
    now = last.outcome_of(last.most)
    old = next((night for night in reversed(level.nights) if night.outcome_of(night.most) != now), None)
    if old is None or old.most is not last.most:
        return ""
    return f"; {old.outcome_of(old.most)} until {old.night}"

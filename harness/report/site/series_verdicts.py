"""A series' verdicts as its page tells them: in words, with what people say, and the commands that say more. No I/O."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from harness.analysis.series import SeriesKey
from harness.analysis.verdict import Verdict
from harness.core.judgement import VerdictKind
from harness.core.phone import PhoneKind
from harness.core.text import percent, printable
from harness.report.site.changes_words import builds_text, confirmation_text, owner_text, suspects_of
from harness.report.site.layout import cut
from harness.report.verdict_words import kind_text, shift_text, value_text

_TONES = {VerdictKind.REGRESSED: "bad", VerdictKind.IMPROVED: "good"}


@dataclass(frozen=True)
class VerdictView:
    """One verdict in words."""

    kind: str
    tone: str
    """A class of the style: `bad`, `good` or none."""
    segment: str
    words: str
    since: str
    """A night; empty: it is about no change."""
    facts: tuple[tuple[str, str], ...]
    """What it is called, and what it is."""
    commands: tuple[str, ...]


def clean(text: str) -> str:
    """Text from outside as it may stand in a page: what does not print is replaced, what is too long is cut."""
    return cut(printable(text))


def verdict_view(verdict: Verdict) -> VerdictView:
    """In words; what is not known is left out, not made up."""
    return VerdictView(
        kind=kind_text(verdict),
        tone="bad" if verdict.loud else _TONES.get(verdict.kind, ""),
        segment=clean(verdict.segment),
        words=clean(verdict.words),
        since=str(verdict.since or ""),
        facts=tuple((name, clean(text)) for name, text in _facts(verdict)),
        commands=tuple(map(clean, _commands(verdict))),
    )


def _facts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    metric = verdict.series.metric
    if verdict.seen is not None and verdict.seen != verdict.since:
        yield "First told", str(verdict.seen)
    if verdict.before is not None:
        yield "Before", value_text(metric, verdict.before)
    if verdict.after is not None:
        yield "Now" if verdict.since is not None else "Level", value_text(metric, verdict.after)
    if verdict.shift is not None:
        yield "Shift", shift_text(verdict.shift)
    if builds := builds_text(verdict):
        yield "Builds", builds
    for name, change in suspects_of(verdict):
        yield f"Changed too: {name}", change
    if verdict.detectable_shift is not None:
        yield "Smallest step it would tell", percent(verdict.detectable_shift)
    if said := confirmation_text(verdict):
        run = f" (run {verdict.confirmation.run_id})" if verdict.confirmation and verdict.confirmation.run_id else ""
        yield "Re-run of both builds", said + run
    if verdict.kind is VerdictKind.REGRESSED or verdict.triage is not None:
        yield "What people say", owner_text(verdict)


def _commands(verdict: Verdict) -> Iterator[str]:
    if verdict.kind is not VerdictKind.REGRESSED and verdict.triage is None and verdict.confirmation is None:
        return
    series = shlex.quote(verdict.series.text)
    at = "" if verdict.since is None else f" --night={verdict.since}"
    yield f"harness verdicts triage {series}{at} --state=acknowledged --reason='issue …'"
    if verdict.kind is VerdictKind.REGRESSED:
        yield f"harness confirm {series} --device={_device(verdict.series)}"


def _device(series: SeriesKey) -> str:
    """The word for such a phone. Which profile of a virtual one it is, no record says."""
    if series.device_kind == PhoneKind.VIRTUAL:
        return "virtual:PROFILE"
    return shlex.quote(f"class:{series.device_product_type}")


def show_command(series: SeriesKey) -> str:
    return clean(f"harness verdicts show {shlex.quote(series.text)}")

"""What is new among verdicts since the last message, and the message. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Any

from harness.analysis.decision import SAME_CHANGE_NIGHTS
from harness.analysis.series import OUTCOME, CaseKey, nights_between
from harness.analysis.verdict import Verdict
from harness.core.judgement import VerdictKind
from harness.core.text import printable
from harness.report.exports.newest import DEMO
from harness.report.verdict_words import kind_text, plain, value_text, verdict_text

MAX_LINES = 20
"""Of verdicts in the text; Slack folds long messages."""
MAX_LINE_CHARS = 300
MAX_VERDICTS = 200
"""In the message's own part."""
_LEADS_ELSEWHERE = re.compile(r"(?<=[@#~])(?=[\w-])|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=\])(?=[(\[:])", re.IGNORECASE)
"""Between the sign and what it would lead to."""
_QUIETLY_SAME = (VerdictKind.IMPROVED, VerdictKind.INCOMPARABLE)
"""After these, `same` is no news: nothing happened, but time passed."""


@dataclass(frozen=True)
class Told:
    """What the last message said of a series, or would have said."""

    kind: str
    since: str | None
    """The night on which the change began, when it was told."""
    open: bool
    confirmation: str | None


@dataclass(frozen=True)
class News:
    """A verdict that differs from what was told."""

    verdict: Verdict
    was: str | None
    """Its kind then; None: it was not told of."""


def told_now(verdicts: Sequence[Verdict], before: Mapping[str, Told]) -> dict[str, Told]:
    """What will have been told; a change keeps its first night as long as it is the same change."""
    now = {}
    for one in verdicts:
        known, told = before.get(verdict_text(one)), _told(one)
        if known is not None and known.kind == told.kind and _same_change(known, told):
            told = replace(told, since=known.since)
        now[verdict_text(one)] = told
    return now


def news(verdicts: Sequence[Verdict], before: Mapping[str, Told]) -> list[News]:
    """The verdicts that are another than was told, in the order given.

    Of what was never told, only what is not `same`. A change that is dated a few nights off is the same; so is one of
    which a person has said something since, but what was said to be fixed and is open again is news.
    """
    found = []
    for one in verdicts:
        known, told = before.get(verdict_text(one)), _told(one)
        if known is None:
            new = one.kind is not VerdictKind.SAME
        elif known.kind != told.kind:
            new = one.kind is not VerdictKind.SAME or known.kind not in _QUIETLY_SAME
        else:
            confirmed = told.confirmation is not None and told.confirmation != known.confirmation
            new = not _same_change(known, told) or (told.open and not known.open) or confirmed
        if new:
            found.append(News(one, None if known is None else known.kind))
    return found


def message(found: Sequence[News], *, demo: Collection[CaseKey] = ()) -> bytes:
    """JSON: `text`, as Slack and its like show it, and `verdicts`, for machines, with what each was before."""
    lines = [f"iPhone load: {_counted(len(found))} changed since the last message"]
    groups = [list(group) for _, group in groupby(found, key=_together)]
    lines += [_line(group, demo) for group in groups[:MAX_LINES]]
    if len(groups) > MAX_LINES:
        lines.append(f"and {sum(map(len, groups[MAX_LINES:]))} more")
    told: dict[str, Any] = {
        "text": "\n".join(lines),
        "verdicts": [
            {**plain(one.verdict), "was": one.was, DEMO: one.verdict.series.of_case in demo}
            for one in found[:MAX_VERDICTS]
        ],
        "left_out": max(0, len(found) - MAX_VERDICTS),
    }
    return json.dumps(told, default=str, allow_nan=False).encode()


def _told(one: Verdict) -> Told:
    confirmation = None if one.confirmation is None else one.confirmation.result.value
    return Told(one.kind.value, None if one.since is None else str(one.since), one.is_open, confirmation)


def _same_change(known: Told, told: Told) -> bool:
    if known.since is None or told.since is None or told.kind == VerdictKind.MISSING.value:
        return True
    nights = nights_between(date.fromisoformat(known.since), date.fromisoformat(told.since))
    return abs(nights) <= SAME_CHANGE_NIGHTS


def _together(one: News) -> object:
    """A case that is silent for one reason in all its series is one line."""
    if one.verdict.kind is VerdictKind.MISSING:
        return (one.verdict.series.of_case, one.verdict.segment, one.verdict.words, one.was)
    return id(one)


def _line(group: Sequence[News], demo: Collection[CaseKey]) -> str:
    one = group[0]
    verdict = one.verdict
    metric = verdict.series.metric
    name = f"{DEMO}/{verdict_text(verdict)}" if verdict.series.of_case in demo else verdict_text(verdict)
    if len(group) > 1:
        name = f"{name.removesuffix(metric)}({len(group)} series)"
    figures = ""
    # of outcomes the words say it
    if metric != OUTCOME and verdict.kind is not VerdictKind.SAME and None not in (verdict.before, verdict.after):
        figures = f", {value_text(metric, verdict.before)} → {value_text(metric, verdict.after)}"
    was = f" (was {one.was})" if one.was is not None and one.was != verdict.kind.value else ""
    text = " ".join(printable(f"• {kind_text(verdict)}{was}: {name}{figures}: {verdict.words}").split())
    return _slack(text if len(text) <= MAX_LINE_CHARS else f"{text[:MAX_LINE_CHARS]}…")


def _slack(text: str) -> str:
    """Nothing in it is a mention, a channel, a link or a picture: Slack's are between `<` and `>`, but addresses become
    links by themselves, and others (Mattermost, say) read Markdown and call everybody at a bare `@all`.
    """
    apart = _LEADS_ELSEWHERE.sub("\N{ZERO WIDTH SPACE}", text)
    return apart.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _counted(number: int) -> str:
    return f"{number} verdict" if number == 1 else f"{number} verdicts"

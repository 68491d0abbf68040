"""Advice as people read it: lines of an explanation, and a list on the report's page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.analysis.advice import Advice, advise
from harness.core.outcome import Family, Outcome
from harness.core.record import TrialRecord
from harness.report.html_text import escape


def advice_lines(advice: Iterable[Advice]) -> Iterator[str]:
    """Three lines each: what to do, what shows it, and where that is from."""
    for number, one in enumerate(advice, start=1):
        yield f"{number}. {one.remedy}."
        yield f"   Because: {one.evidence}."
        yield f"   Source: {one.source}  [{one.rule}]"


def case_advice(records: Sequence[TrialRecord], neighbours: Sequence[TrialRecord]) -> list[tuple[Advice, int]]:
    """What the trials of a case advise that did not measure what was asked, or broke a limit of the suite.

    Each rule once, with the number of trials that say so; the evidence is that of the first.
    """
    first: dict[str, Advice] = {}
    counts: dict[str, int] = {}
    for record in records:
        if record.outcome is None or not _failed(record):
            continue
        for one in advise(record, neighbours):
            first.setdefault(one.rule, one)
            counts[one.rule] = counts.get(one.rule, 0) + 1
    return [(one, counts[rule]) for rule, one in first.items()]


def advice_html(records: Sequence[TrialRecord], neighbours: Sequence[TrialRecord]) -> str:
    """The same as a list for the page; nothing where no rule speaks. Everything in it is escaped."""
    found = case_advice(records, neighbours)
    if not found:
        return ""
    items = "".join(
        f"<li>{escape(one.remedy)}. <span class=muted>{escape(one.evidence)}"
        f"{f' ({count} trials)' if count > 1 else ''}; {_source(one.source)}</span></li>"
        for one, count in found
    )
    return f'<ul class="advice" aria-label="What to try">{items}</ul>'


def _failed(record: TrialRecord) -> bool:
    measured = record.outcome_family == Family.MEASURED and record.outcome != Outcome.FELL_BACK
    return not measured or bool(record.broken_limits)


def _source(text: str) -> str:
    """Addresses become links."""
    return " ".join(
        f'<a href="{escape(word)}">{escape(word)}</a>' if word.startswith("https://") else escape(word)
        for word in text.split()
    )

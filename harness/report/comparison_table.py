"""A comparison as rows of text and as plain data: the same for the terminal, pytest and machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.analysis.compare import Comparison
from harness.analysis.compare_outcomes import outcome_words
from harness.analysis.compare_sides import CaseComparison, SidesComparison
from harness.analysis.series import OUTCOME
from harness.core.judgement import VerdictKind
from harness.report.verdict_words import shift_text
from harness.report.words import MISSING, figure_text

HEADINGS = ("Case", "Metric", "A", "B", "Shift", "95 % interval", "p", "Verdict", "")
RIGHT = ("A", "B", "Shift", "95 % interval", "p")
NIGHTS_CONFOUND = (
    "the two sides were recorded apart, so the night, the host's load and the phone's warmth are part of every "
    "difference: in simulations 84 to 176 of 1000 such comparisons without any change said regressed; trials in turns "
    "on one phone about 10"
)
_SMALL_P = 0.0001


def comparison_rows(found: SidesComparison) -> list[tuple[str, ...]]:
    """Cells in the order of HEADINGS: each case's outcomes, then its figures; a case that is not judged says why."""
    return [row for case in found.cases for row in _rows(case)]


def _rows(case: CaseComparison) -> Iterator[tuple[str, ...]]:
    for problem in case.problems:
        yield case.case, "", MISSING, MISSING, MISSING, MISSING, MISSING, VerdictKind.INCOMPARABLE, problem
    if case.outcomes is None:
        return
    ends = case.outcomes
    p = MISSING if ends.p is None else p_text(ends.p)
    yield (
        case.case, OUTCOME, outcome_words(ends.a), outcome_words(ends.b), MISSING, MISSING, p, ends.verdict, ends.words
    )  # fmt: skip  # a row
    for one in case.metrics:
        if one.a_count or one.b_count:
            yield case.case, *_cells(one)


def _cells(one: Comparison) -> tuple[str, ...]:
    return (
        one.metric.name,
        figure_text(one.a_median, one.metric.unit),
        figure_text(one.b_median, one.metric.unit),
        shift_text(one.shift),
        MISSING if one.interval is None else " to ".join(map(shift_text, one.interval)),
        MISSING if one.p is None else p_text(one.p),
        one.verdict,
        one.words,
    )


def p_text(p: float) -> str:
    """`0.0032`, `< 0.0001`."""
    return f"< {_SMALL_P}" if p < _SMALL_P else f"{p:.2g}"


def comparison_notes(found: SidesComparison) -> list[str]:
    """What a person must know beside the table."""
    notes = [] if found.interleaved else [NIGHTS_CONFOUND]
    for case in found.cases:
        notes += [f"{case.case}: {note}" for note in case.notes]
    for name, only in (("A", found.only_a), ("B", found.only_b)):
        if only:
            notes.append(f"only {name} has {', '.join(only)}")
    return list(dict.fromkeys(notes))


def comparison_data(found: SidesComparison) -> dict[str, Any]:
    """For machines: figures in the record's units, shifts as shares of A's median."""
    return {
        "verdict": found.verdict,
        "interleaved": found.interleaved,
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
        "cases": [_case_data(case) for case in found.cases],
    }


def _case_data(case: CaseComparison) -> dict[str, Any]:
    ends = case.outcomes
    return {
        "case_a": case.case_a,
        "case_b": case.case_b,
        "device": case.device,
        "verdict": case.verdict,
        "problems": list(case.problems),
        "notes": list(case.notes),
        "outcome": None
        if ends is None
        else {"verdict": ends.verdict, "a": dict(ends.a), "b": dict(ends.b), "p": ends.p, "words": ends.words},
        "metrics": [_metric_data(one) for one in case.metrics],
    }


def _metric_data(one: Comparison) -> dict[str, Any]:
    return {
        "metric": one.metric.name,
        "unit": one.metric.unit,
        "polarity": one.metric.polarity,
        "verdict": one.verdict,
        "words": one.words,
        "a_count": one.a_count,
        "b_count": one.b_count,
        "a_median": one.a_median,
        "b_median": one.b_median,
        "shift": one.shift,
        "shift_interval": None if one.interval is None else list(one.interval),
        "p_worse": one.p_worse,
        "p_better": one.p_better,
        "method": one.method,
        "detectable_shift": one.detectable_shift,
    }

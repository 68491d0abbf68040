"""Series, verdicts and comparisons as frames, for a notebook; the words and shapes are `analysis`'s."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.analysis.compare_sides import CaseComparison, SidesComparison
from harness.analysis.metrics import METRICS
from harness.analysis.series import OUTCOME, CaseHistory
from harness.analysis.verdict import Verdict
from harness.core.judgement import VerdictKind
from harness.report.verdict_words import night_rows

_OF_SERIES = ("device_kind", "device_product_type", "suite", "case", "metric")
_TEXT, _NUMBER, _COUNT, _YES_OR_NO = pd.StringDtype(), pd.Float64Dtype(), pd.Int64Dtype(), pd.BooleanDtype()
SERIES: dict[str, Any] = {
    "series": _TEXT,
    **dict.fromkeys(_OF_SERIES, _TEXT),
    "night": _TEXT,
    "value": _NUMBER,
    "trials": _COUNT,
    "short": _YES_OR_NO,
    "outcomes": object,
    "build": _TEXT,
    "segment": _COUNT,
    "line": _TEXT,
    "changed": _TEXT,
}
VERDICTS: dict[str, Any] = {
    "series": _TEXT,
    **dict.fromkeys(_OF_SERIES, _TEXT),
    **dict.fromkeys(("segment", "verdict", "night", "since"), _TEXT),
    **dict.fromkeys(("new", "open"), _YES_OR_NO),
    "alarm": _TEXT,
    **dict.fromkeys(("before", "after"), object),
    **dict.fromkeys(("shift", "detectable_shift"), _NUMBER),
    **dict.fromkeys(("last_good", "first_bad", "confirmation", "triage", "words"), _TEXT),
}
COMPARISON: dict[str, Any] = {
    **dict.fromkeys(("case", "device", "metric", "verdict"), _TEXT),
    **dict.fromkeys(("a_count", "b_count"), _COUNT),
    **dict.fromkeys(("a_median", "b_median", "shift", "shift_low", "shift_high", "p", "detectable_shift"), _NUMBER),
    "words": _TEXT,
    "interleaved": _YES_OR_NO,
}


def series_frame(histories: Iterable[CaseHistory], min_trials: int) -> pd.DataFrame:
    """One row a night of a series, oldest first within it: see SERIES."""
    rows = [
        {"series": key.text, **asdict(key), **asdict(row)}
        for history in histories
        for key in map(history.key.series, _metrics(history))
        for row in night_rows(history, key, min_trials)
    ]
    return _typed(rows, SERIES)


def verdict_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row a verdict, in the order given: see VERDICTS."""
    rows = [
        {
            "series": one.series.text,
            **asdict(one.series),
            "segment": one.segment,
            "verdict": one.kind.value,
            "night": str(one.night),
            "since": None if one.since is None else str(one.since),
            "new": one.new,
            "open": one.is_open,
            "alarm": one.alarm,
            "before": one.before,
            "after": one.after,
            "shift": one.shift,
            "detectable_shift": one.detectable_shift,
            "last_good": None if one.last_good is None else one.last_good.words,
            "first_bad": None if one.first_bad is None else one.first_bad.words,
            "confirmation": None if one.confirmation is None else one.confirmation.result.value,
            "triage": None if one.triage is None else one.triage.state.value,
            "words": one.words,
        }
        for one in verdicts
    ]
    return _typed(rows, VERDICTS)


def comparison_frame(found: SidesComparison) -> pd.DataFrame:
    """One row a case and metric, and one for how the case ended (`metric` is `outcome`): see COMPARISON.

    A case that only A has is `missing`, one that only B has is `incomparable`.
    """
    rows = [row for one in found.cases for row in _case_rows(one)]
    for names, verdict, words in (
        (found.only_a, VerdictKind.MISSING, "B has no such case"),
        (found.only_b, VerdictKind.INCOMPARABLE, "A has no such case"),
    ):
        rows += [{"case": name, "metric": OUTCOME, "verdict": verdict.value, "words": words} for name in names]
    return _typed([{**row, "interleaved": found.interleaved} for row in rows], COMPARISON)


def _case_rows(one: CaseComparison) -> list[dict[str, Any]]:
    head: dict[str, Any] = {"case": one.case, "device": one.device}
    ends: dict[str, Any] = {**head, "metric": OUTCOME, "verdict": one.verdict.value, "words": "; ".join(one.problems)}
    if one.outcomes is not None:
        ends |= {
            "verdict": one.outcomes.verdict.value,
            "a_count": sum(one.outcomes.a.values()),
            "b_count": sum(one.outcomes.b.values()),
            "p": one.outcomes.p,
            "words": one.outcomes.words,
        }
    figures = []
    for figure in one.metrics:
        low, high = figure.interval or (None, None)
        told = {name: getattr(figure, name) for name in ("a_count", "b_count", "a_median", "b_median", "shift", "p")}
        told |= {"shift_low": low, "shift_high": high, "detectable_shift": figure.detectable_shift}
        verdict = figure.verdict.value
        figures.append({**head, "metric": figure.metric.name, "verdict": verdict, **told, "words": figure.words})
    return [ends, *figures]


def _metrics(history: CaseHistory) -> list[str]:
    """The outcome, and the metrics that some night has."""
    measured = {name for segment in history.segments for name in segment.values if segment.counts[name].any()}
    return [OUTCOME, *(metric.name for metric in METRICS if metric.name in measured)]


def _typed(rows: Sequence[dict[str, Any]], types: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in types.items()},
        columns=list(types),
    )

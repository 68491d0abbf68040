"""`--load-fail-on` and `--load-baseline`: what this session's trials say beside earlier ones.

Without a baseline the nights of the results judge, as in `harness verdicts`; with one its trials, as in
`harness compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import UsageError
from harness.core.judgement import VerdictKind

if TYPE_CHECKING:
    import pandas as pd

    from harness.bench.compare_words import RecordedSide
    from harness.store.address import ResultsAddress
    from harness.store.database import ResultStore

JUDGE = pytest.StashKey["SessionJudge"]()
JUDGED = pytest.StashKey["Judged"]()


class FailOn(StrEnum):
    """What makes the session fail although every trial ended as expected."""

    REGRESSION = "regression"
    MISSING = "missing"
    """There is too little to judge by: too few trials, or cases that the baseline has and this session has not."""


_KINDS = {FailOn.REGRESSION: VerdictKind.REGRESSED, FailOn.MISSING: VerdictKind.MISSING}


@dataclass(frozen=True)
class Judged:
    """What is told at the end of the session."""

    rows: Sequence[Sequence[str]]
    """A table, its headings first; only these when there is nothing to tell."""
    notes: Sequence[str]
    failing: Sequence[str]
    """Why the session fails, in words; empty: it does not."""


@dataclass(frozen=True)
class SessionJudge:
    """What was asked. The baseline is read before the session, so that its own trials are no part of it."""

    fail_on: frozenset[FailOn]
    baseline: RecordedSide | None

    def judge(self, results: ResultsAddress, run_ids: Sequence[str]) -> Judged | None:
        """None: the session has run nothing."""
        from harness.store.database import ResultStore

        with ResultStore.open_existing(results) as store:
            trials = store.frame(run_id=list(run_ids), arm=None)
            if trials.empty:
                return None
            if self.baseline is not None:
                return _beside(self.baseline, trials, self.fail_on)
            return _of_the_nights(store, trials, self.fail_on)


def session_judge(config: pytest.Config, results: ResultsAddress) -> SessionJudge | None:
    """What flags and ini file ask for; None: nothing. Raises UsageError for an unknown word, or no such baseline."""
    words = config.getoption("--load-fail-on") or config.getini("load_fail_on")
    baseline = config.getoption("--load-baseline") or config.getini("load_baseline")
    unknown = [word for word in words if word not in tuple(FailOn)]
    if unknown:
        raise UsageError(f"load_fail_on: {unknown[0]!r} is none of {', '.join(FailOn)}")
    if not words and not baseline:
        return None
    return SessionJudge(frozenset(map(FailOn, words)), _recorded(baseline, results) if baseline else None)


def _recorded(text: str, results: ResultsAddress) -> RecordedSide:
    from harness.bench.compare_words import RecordedSide, read_side

    side = read_side(text, results)
    if not isinstance(side, RecordedSide):
        raise UsageError(
            f"load_baseline: {text} is to be run, and a baseline is what was recorded; "
            "`harness compare` runs two builds or suites in turns"
        )
    return side


def _of_the_nights(store: ResultStore, trials: pd.DataFrame, fail_on: frozenset[FailOn]) -> Judged:
    from harness.analysis.nightly import KEY_COLUMNS
    from harness.analysis.series import CaseKey
    from harness.analysis.verdict import failing
    from harness.bench.nightly_verdicts import verdicts_of
    from harness.report.verdict_words import HEADINGS, verdict_rows

    ours = {CaseKey(*row) for row in trials.loc[:, list(KEY_COLUMNS)].itertuples(index=False, name=None)}
    found = [one for one in verdicts_of(store) if one.series.of_case in ours]
    told = [one for one in found if one.kind is not VerdictKind.SAME]
    same = len(found) - len(told)
    bad = failing(found, [_KINDS[one] for one in fail_on])
    return Judged(
        [HEADINGS, *verdict_rows(told)] if told else [HEADINGS],
        [f"{same} of {len(found)} series are the same as in the nights before"],
        [f"{one.series.text}: {one.kind}: {one.words}" for one in bad],
    )


def _beside(baseline: RecordedSide, trials: pd.DataFrame, fail_on: frozenset[FailOn]) -> Judged:
    from harness.analysis.compare_sides import compare_sides
    from harness.analysis.metrics import DEFAULT_METRICS, METRIC_BY_NAME
    from harness.report.comparison_table import HEADINGS, comparison_notes, comparison_rows

    found = compare_sides(baseline.trials, trials, [METRIC_BY_NAME[name] for name in DEFAULT_METRICS])
    bad = []
    if FailOn.REGRESSION in fail_on:
        bad += [f"{one.case}: regressed" for one in found.cases if one.verdict is VerdictKind.REGRESSED]
    if FailOn.MISSING in fail_on:
        bad += [f"{name}: only the baseline has it" for name in found.only_a]
        bad += [f"{one.case}: cannot be judged" for one in found.cases if one.verdict is VerdictKind.INCOMPARABLE]
    if fail_on and not found.cases:
        # a baseline of something else would let every regression pass
        bad.append(f"{baseline.words}: no case of this session is in the baseline, so nothing was judged")
    notes = [f"A: {baseline.words}; B: this session", *comparison_notes(found)]
    return Judged([HEADINGS, *comparison_rows(found)], notes, bad)

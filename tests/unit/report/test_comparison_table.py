"""A comparison as people and machines read it."""

from __future__ import annotations

import json

import numpy as np

from harness.analysis.compare import judge
from harness.analysis.compare_outcomes import judge_outcomes
from harness.analysis.compare_sides import CaseComparison, SidesComparison
from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.judgement import VerdictKind
from harness.report.comparison_table import (
    HEADINGS,
    NIGHTS_CONFOUND,
    comparison_data,
    comparison_notes,
    comparison_rows,
)

PEAK, RATE = METRIC_BY_NAME["peak_footprint_bytes"], METRIC_BY_NAME["decode_tokens_per_s"]
MIB = float(1 << 20)


def compared(*, interleaved: bool = True, **changes: object) -> SidesComparison:
    a = np.arange(10, dtype=np.float64) * 1024.0 + 100 * MIB
    nothing = np.array([], dtype=np.float64)
    metrics = judge(a, np.add(a, 5 * MIB, dtype=np.float64), PEAK), judge(nothing, a, RATE)
    outcomes = judge_outcomes({"loaded": 10}, {"loaded": 10})
    case = CaseComparison("tiny", "tiny", "iPhone17,1 (virtual)", (), ("app: 1 → 2",), outcomes, metrics)
    return SidesComparison((case,), (), ("wide",), interleaved)


def test_a_row_for_the_outcomes_and_each_figure() -> None:
    ends, peak, rate = comparison_rows(compared())
    assert all(len(row) == len(HEADINGS) for row in (ends, peak, rate))
    assert ends[2:4] == ("10 × loaded", "10 × loaded")
    assert peak[4:8] == ("+5.0 %", "+5.0 % to +5.0 %", "< 0.0001", "regressed")
    # a figure that one side lacks is a dash, never 0
    assert (rate[2], rate[4], rate[7]) == ("–", "–", "missing")


def test_a_case_that_cannot_be_compared_says_why() -> None:
    bare = CaseComparison("tiny", "tiny", "iPhone17,1 (virtual)", ("A ran elsewhere",))
    (row,) = comparison_rows(SidesComparison((bare,), (), (), interleaved=True))
    assert row[-2:] == (VerdictKind.INCOMPARABLE, "A ran elsewhere")


def test_nights_confound_is_said_of_sides_that_were_recorded_apart() -> None:
    assert NIGHTS_CONFOUND not in comparison_notes(compared())
    assert comparison_notes(compared(interleaved=False))[0] == NIGHTS_CONFOUND
    assert "only B has wide" in comparison_notes(compared())


def test_machines_get_the_figures_and_null_for_none() -> None:
    data = json.loads(json.dumps(comparison_data(compared())))
    peak, rate = data["cases"][0]["metrics"]
    assert (data["verdict"], peak["verdict"], peak["method"]) == ("regressed", "regressed", "exact")
    assert abs(peak["shift"] - 0.05) < 0.001
    assert rate["shift"] is None

"""Runs made of their trials."""

from __future__ import annotations

import pandas as pd

from harness.analysis.runs import RUN_COLUMNS, TRIAL_COLUMNS, runs_of
from harness.bench.compare_words import frame_of
from harness.core.record import TrialRecord
from tests.kept_trials import a_trial


def runs(*records: TrialRecord) -> pd.DataFrame:
    return runs_of(frame_of(records)[list(TRIAL_COLUMNS)])


def test_a_run_is_what_its_trials_share() -> None:
    frame = runs(
        a_trial("t-1", run_id="r", build="17", engine_version="1"),
        a_trial("t-2", run_id="r", build="17", device_udid="other", outcome="jetsam", engine_version=None),
        a_trial("t-3", run_id="r", build="17", ordinal=0),
        a_trial("t-4", run_id="r", build="17", ordinal=2, cut_short=True, outcome="harness_error"),
        a_trial("t-5", run_id="r", build="17", ordinal=2, attempt=2, case="wide/cpu"),
        a_trial("t-6", run_id="r", build="17", ordinal=2, attempt=2),
    )
    (run,) = frame.to_dict("records")
    assert (run["suite"], run["build"], run["device_product_type"]) == ("made-up", "17", "iPhone17,1")
    assert frame["device_udid"].isna().all(), "they differ"
    assert run["engine_version"] == "1", "one does not know it"
    assert (run["trials"], run["cases"], run["loaded"], run["as_expected"]) == (4, 2, 3, 3)
    assert run["outcomes"] == {"loaded": 3, "jetsam": 1}


def test_runs_are_in_order_of_time_and_one_that_runs_has_no_end() -> None:
    late = {"run_id": "a", "started_at": "2026-11-23T00:00:00+00:00"}
    frame = runs(
        a_trial("t-3", **late),
        a_trial("t-4", **late, state="running", outcome=None, finished_at=None),
        a_trial("t-1", run_id="b", started_at="2026-11-22T00:00:00+00:00"),
    )
    assert frame["run_id"].tolist() == ["b", "a"]
    assert frame["ended"].isna().tolist() == [False, True]
    assert frame["running"].tolist() == [0, 1]


def test_no_trials_are_no_runs() -> None:
    frame = runs()
    assert list(frame.columns) == list(RUN_COLUMNS)
    assert frame.empty
    assert str(frame["trials"].dtype) == "Int64"


def test_a_run_of_warm_ups_alone_counts_none() -> None:
    (run,) = runs(a_trial("t-1", ordinal=0)).to_dict("records")
    assert (run["trials"], run["outcomes"]) == (0, {})

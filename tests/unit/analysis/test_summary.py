"""Sums over trials and over readings, from small tables."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import pytest

from harness.analysis.readings import telemetry_figures
from harness.analysis.summary import counted, summarize, warm_ups, without_replaced
from harness.core.outcome import EMULATED_GPU
from harness.core.record import record_columns
from harness.core.telemetry import Reading, Source


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    """Trials with the columns that summaries read, in the types of `ResultStore.frame`."""
    base: dict[str, Any] = {
        "device_kind": "virtual",
        "device_product_type": "iPhone17,1",
        "device_settings": "",
        "case": "a",
        "outcome": "loaded",
        "expected_outcome": "loaded",
        "backend_effective": "cpu",
        "load_ns": None,
        "ttft_ns": None,
        "decode_tokens_per_s": None,
        "peak_footprint_bytes": None,
        "footprint_limit_bytes": None,
        "allocation_limit_bytes": None,
        "run_id": "r",
        "suite": "s",
        "ordinal": 1,
        "attempt": 1,
        "cut_short": False,
        "broken_limits": None,
    }
    columns = {name: [row.get(name, value) for row in rows] for name, value in base.items()}
    kinds = {name: "Int64" if name.endswith(("_ns", "_bytes")) else "string" for name in base}
    kinds |= {"decode_tokens_per_s": "Float64", "ordinal": "Int64", "attempt": "Int64", "cut_short": "boolean"}
    return pd.DataFrame({name: pd.Series(values, dtype=kinds[name]) for name, values in columns.items()})


def test_median_and_spread_of_what_loaded_and_missing_stays_missing() -> None:
    summary = summarize(
        table(
            {"load_ns": 10, "peak_footprint_bytes": 40, "footprint_limit_bytes": 100},
            {"load_ns": 0, "peak_footprint_bytes": None, "footprint_limit_bytes": 100},
            {"load_ns": None, "peak_footprint_bytes": 50, "footprint_limit_bytes": None},
            {"outcome": "jetsam", "load_ns": 10**12, "peak_footprint_bytes": 99, "footprint_limit_bytes": 100},
            {"outcome": "fell_back", "load_ns": 10**12, "peak_footprint_bytes": 9},
            {"outcome": None},
        )
    )
    [row] = summary.to_dict("records")
    assert row["trials"] == 6
    assert row["outcomes"] == {"loaded": 3, "jetsam": 1, "fell_back": 1, "running": 1}
    assert not row["as_expected"]
    assert [row[f"load_ns_{part}"] for part in ("median", "min", "max", "count")] == [5, 0, 10, 2]
    assert [row[f"peak_footprint_bytes_{part}"] for part in ("median", "min", "max", "count")] == [45, 40, 50, 2]
    # of one trial only: the other lacks the peak, the third the limit
    assert (row["head_room_bytes_median"], row["head_room_bytes_count"]) == (60, 1)
    assert row["footprint_limit_bytes_count"] == 3
    assert row["failed_peak_footprint_bytes"] == 54
    assert row["ttft_ns_count"] == 0
    assert summary["ttft_ns_median"].tolist() == [pd.NA]
    assert str(summary["ttft_ns_median"].dtype) == "Float64"


@pytest.mark.parametrize(
    "change",
    [
        {"device_kind": "physical"},
        {"device_product_type": "iPhone16,1"},
        {"device_settings": "footprint_limit=90MiB"},
        {"case": "b"},
    ],
)
def test_what_differs_is_never_in_one_row(change: dict[str, Any]) -> None:
    summary = summarize(table({}, change, {}))
    assert list(summary["trials"]) == [2, 1]


def test_expected_failures_are_as_expected() -> None:
    summary = summarize(
        table(
            {"outcome": "bad_alloc", "expected_outcome": "bad_alloc"},
            {"case": "b", "outcome": "loaded", "expected_outcome": "bad_alloc"},
            {"case": "c", "outcome": None},
        )
    )
    assert list(summary["as_expected"]) == [True, False, False]
    assert summary["load_ns_median"].isna().all()


def test_one_emulated_gpu_marks_the_row() -> None:
    summary = summarize(table({}, {"case": "b"}, {"case": "b", "backend_effective": EMULATED_GPU}, {"case": "c"}))
    assert list(summary["gpu_emulated"]) == [False, True, False]
    assert not summarize(table({"backend_effective": None}))["gpu_emulated"].any()


def test_no_trials_give_no_rows() -> None:
    assert summarize(table()).empty


def test_warm_ups_are_kept_and_not_counted() -> None:
    trials = table({"ordinal": 0, "outcome": "jetsam"}, {"ordinal": -1}, {"ordinal": 1}, {"ordinal": 2})
    [row] = summarize(trials).to_dict("records")
    assert (row["trials"], row["outcomes"], row["as_expected"]) == (2, {"loaded": 2}, True)
    assert warm_ups(trials) == 2


def test_an_attempt_in_whose_place_a_later_one_stands_is_not_counted() -> None:
    cut = {"outcome": "harness_error", "cut_short": True}
    trials = table(cut, {**cut, "attempt": 2}, {"attempt": 3}, {**cut, "ordinal": 2}, {**cut, "run_id": "another"})
    assert list(without_replaced(trials).index) == [2, 3, 4]
    [row] = summarize(trials).to_dict("records")
    assert row["outcomes"] == {"harness_error": 2, "loaded": 1}


def test_an_attempt_that_comes_late_does_not_count_beside_one_that_was_not_cut_short() -> None:
    late = {"outcome": "harness_error", "cut_short": True, "attempt": 2}
    # in its place in a second run nothing stands, nor in that of another trial
    trials = table({}, late, {**late, "run_id": "another"}, {**late, "ordinal": 2}, {**late, "ordinal": 0})
    assert list(without_replaced(trials).index) == [0, 2, 3, 4]
    assert list(counted(trials).index) == [0, 2, 3]
    # whichever of them came first
    assert list(without_replaced(trials.iloc[::-1]).index) == [4, 3, 2, 0]
    assert list(without_replaced(trials.iloc[[1, 3]]).index) == [1, 3]


def test_the_same_trial_asked_twice_is_two() -> None:
    # as a hand-written test does that loads in a loop
    assert list(summarize(table({}, {}))["trials"]) == [2]


def test_trials_over_their_limits_are_counted() -> None:
    limits = [None, "", "max_load_s 2 s: measured 3 s"]
    summary = summarize(table(*({"broken_limits": told} for told in limits)))
    assert list(summary["over_limits"]) == [1]
    assert list(summary["as_expected"]) == [True]


APP = Reading(Source.APP, 0, 1)
HOST = Reading(Source.HOST, 0)


def test_figures_of_readings_in_any_order() -> None:
    figures = telemetry_figures(
        [
            replace(APP, t_ns=30, footprint_bytes=5, resident_bytes=0, available_bytes=0),
            replace(APP, t_ns=10, footprint_bytes=7, available_bytes=93),
            replace(APP, t_ns=12, footprint_bytes=6, available_bytes=94),
            replace(APP, t_ns=13, footprint_bytes=6, available_bytes=90),
            replace(HOST, t_ns=99, footprint_bytes=8, resident_bytes=1000),
        ]
    )
    assert asdict(figures) == {
        "peak_footprint_bytes": 7,
        "peak_resident_bytes": 0,
        "footprint_limit_bytes": 100,
        "host_peak_footprint_bytes": 8,
        "sample_count": 4,
        "sample_gap_max_ns": 17,
        "last_sample_ns": 30,
    }
    assert set(asdict(figures)) <= {column.name for column in record_columns()}


@pytest.mark.parametrize("readings", [[], [HOST]], ids=["none", "of the host only"])
def test_without_samples_every_figure_is_missing(readings: list[Reading]) -> None:
    figures = asdict(telemetry_figures(readings))
    assert figures.pop("sample_count") == 0
    assert set(figures.values()) == {None}

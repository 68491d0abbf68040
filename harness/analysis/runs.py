"""Runs, made of the trials that bear their ids. Pure; may know only `core` and frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.analysis.summary import counted
from harness.core.outcome import Outcome
from harness.core.record import TrialState

SAME = (
    "suite",
    "device_kind",
    "device_product_type",
    "device_udid",
    "device_os_version",
    "build",
    "engine_version",
)
"""Columns of trials that a run has when all trials that know them agree."""
TRIAL_COLUMNS: tuple[str, ...] = (
    "trial_id",
    "run_id",
    *SAME,
    "case",
    "ordinal",
    "attempt",
    "cut_short",
    "state",
    "started_at",
    "finished_at",
    "outcome",
    "expected_outcome",
)
"""What `runs_of` needs of trials."""
RUN_COLUMNS = ("run_id", *SAME, "began", "ended", "cases", "trials", "running", "loaded", "as_expected", "outcomes")


def runs_of(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a run, in order of time.

    `suite`, `device_…`, `build`, `engine_version`: `pandas.NA` where none of its trials knows it, or they differ.
    `began` and `ended`: ISO 8601, UTC, the latter NA while a trial runs. `cases`, `trials` and below are counts (Int64)
    without warm-ups and replaced attempts: `running`, `loaded`, `as_expected`, and `outcomes` (dict: outcome → count).
    """
    if trials.empty:
        return _typed([])
    kept = counted(trials)
    that_count = {str(run_id): group for run_id, group in kept.groupby("run_id", sort=False)}
    rows: list[dict[str, Any]] = []
    for run_id, group in trials.groupby("run_id", sort=False):
        running = bool(group["state"].eq(TrialState.RUNNING.value).any())
        rows.append(
            {
                "run_id": run_id,
                **{name: _same(group[name]) for name in SAME},
                "began": group["started_at"].min(),
                "ended": pd.NA if running else group["finished_at"].max(),
                **_counts(that_count.get(str(run_id), kept.iloc[:0])),
            }
        )
    return _typed(sorted(rows, key=lambda row: (row["began"], row["run_id"])))


def _same(values: pd.Series[Any]) -> Any:
    found = values.dropna().unique()
    return found[0] if len(found) == 1 else pd.NA


def _counts(group: pd.DataFrame) -> dict[str, Any]:
    outcomes = {str(name): int(count) for name, count in group["outcome"].value_counts().items()}
    return {
        "cases": group["case"].nunique(),
        "trials": len(group),
        "running": int(group["state"].eq(TrialState.RUNNING.value).sum()),
        "loaded": outcomes.get(Outcome.LOADED.value, 0),
        "as_expected": int(group["outcome"].eq(group["expected_outcome"]).fillna(False).sum()),
        "outcomes": outcomes,
    }


def _typed(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    texts = ("run_id", *SAME, "began", "ended")
    numbers = ("cases", "trials", "running", "loaded", "as_expected")
    return frame.astype({**dict.fromkeys(texts, pd.StringDtype()), **dict.fromkeys(numbers, pd.Int64Dtype())})

"""What many trials of a case say together. Pure; may know only `core`."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis.attempts import replaced
from harness.core.outcome import EMULATED_GPU, Outcome

GROUP_COLUMNS = ("device_kind", "device_product_type", "device_settings", "case")
"""What trials must share to be summed up together; physical and virtual phones therefore never meet in a row."""

_OF_THE_PHONE = ("footprint_limit_bytes", "allocation_limit_bytes")
METRICS = ("load_ns", "ttft_ns", "decode_tokens_per_s", "peak_footprint_bytes", *_OF_THE_PHONE)
"""Columns of trials that are summed up; `head_room_bytes` (limit − peak, trial by trial) comes on top."""

HEAD_ROOM = "head_room_bytes"
RUNNING = "running"
"""Stands among the outcomes for trials that have none yet."""


_TRIAL = ["run_id", "suite", "case", "ordinal"]
"""What the attempts of one trial share."""


def without_replaced(trials: pd.DataFrame) -> pd.DataFrame:
    """Without the attempts that were cut short with their run and in whose place another one stands."""
    return _kept(trials, ~_is_replaced(trials))


def counted(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that figures and counts are about: no warm-ups (ordinals below 1), no replaced attempts."""
    return _kept(trials, ~_is_replaced(trials) & trials["ordinal"].ge(1).astype(bool))


def _is_replaced(trials: pd.DataFrame) -> pd.Series[bool]:
    cut_short = trials["cut_short"].astype(bool)
    if not cut_short.any():
        return cut_short
    # of a year of results few runs have any: only those are gone through row by row
    found = trials["run_id"].isin(trials["run_id"][cut_short]).to_numpy(dtype=bool, copy=True)
    asked = trials.loc[found, [*_TRIAL, "attempt", "cut_short"]]
    of_trial = zip(*(asked[name].tolist() for name in _TRIAL), strict=True)
    found[found] = replaced(zip(of_trial, asked["attempt"].tolist(), asked["cut_short"].tolist(), strict=True))
    return pd.Series(found, index=trials.index, dtype=bool)


def _kept(trials: pd.DataFrame, mask: pd.Series[bool]) -> pd.DataFrame:
    # copying many columns costs more than all that is asked of them
    return trials if mask.all() else trials[mask]


def warm_ups(trials: pd.DataFrame) -> int:
    """How many warm-ups there are."""
    return int((without_replaced(trials)["ordinal"] < 1).sum())


def summarize(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per device class, settings and case, in the order of first appearance; only of what is `counted`.

    Columns: GROUP_COLUMNS; `trials` (count); `outcomes` (dict: outcome → count, most frequent first);
    `expected_outcome` (the expected ones, joined by ` or ` if they differ); `as_expected` (bool: every trial ended as
    it was expected to); `over_limits` (count of the trials whose figures break a limit of their suite);
    `gpu_emulated` (bool: some trial's GPU was none); for every metric M and `head_room_bytes` the
    Float64 columns `M_median`, `M_min`, `M_max` over the trials that loaded, and `M_count`, how many had the figure;
    `failed_peak_footprint_bytes`: the median of the trials that did not load. The limits are taken from all trials,
    since they belong to the phone and not to the load.
    A figure that no trial has is `pandas.NA`.
    """
    rows: list[dict[str, Any]] = []
    for _, group in counted(trials).groupby(list(GROUP_COLUMNS), sort=False, dropna=False):
        loaded = group[group["outcome"].eq(Outcome.LOADED.value).fillna(False).astype(bool)]
        failed = group.drop(loaded.index)
        row: dict[str, Any] = {name: group[name].iloc[0] for name in GROUP_COLUMNS}
        row["trials"] = len(group)
        row["outcomes"] = {str(name): int(n) for name, n in group["outcome"].fillna(RUNNING).value_counts().items()}
        row["expected_outcome"] = " or ".join(dict.fromkeys(group["expected_outcome"]))
        row["as_expected"] = bool(group["outcome"].eq(group["expected_outcome"]).fillna(False).all())
        row["over_limits"] = int(group["broken_limits"].fillna("").ne("").sum())
        row["gpu_emulated"] = bool(group["backend_effective"].eq(EMULATED_GPU).fillna(False).any())
        for name in METRICS:
            of = group if name in _OF_THE_PHONE else loaded
            row |= _spread(name, of[name])
        row |= _spread(HEAD_ROOM, loaded["footprint_limit_bytes"] - loaded["peak_footprint_bytes"])
        row["failed_peak_footprint_bytes"] = _spread("peak", failed["peak_footprint_bytes"])["peak_median"]
        rows.append(row)
    return _typed(pd.DataFrame(rows, columns=_columns()))


def _spread(name: str, values: pd.Series[Any]) -> dict[str, Any]:
    known = values.dropna().astype("Float64")
    missing = known.empty
    return {
        f"{name}_median": pd.NA if missing else known.median(),
        f"{name}_min": pd.NA if missing else known.min(),
        f"{name}_max": pd.NA if missing else known.max(),
        f"{name}_count": len(known),
    }


def _columns() -> list[str]:
    spreads = [f"{name}_{part}" for name in (*METRICS, HEAD_ROOM) for part in ("median", "min", "max", "count")]
    return [
        *GROUP_COLUMNS,
        "trials",
        "outcomes",
        "expected_outcome",
        "as_expected",
        "over_limits",
        "gpu_emulated",
        *spreads,
        "failed_peak_footprint_bytes",
    ]


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    floats = [
        name for name in frame.columns if name.endswith(("_median", "_min", "_max", "failed_peak_footprint_bytes"))
    ]
    return frame.astype(dict.fromkeys(floats, "Float64"))

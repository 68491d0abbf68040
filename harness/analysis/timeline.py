"""From the readings of trials to what a timeline shows: one clock, visible gaps, one trial to stand for its case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.core.telemetry import Phase, Source

if TYPE_CHECKING:
    import pandas as pd

GAP_PERIODS = 5
"""Samples further apart than this many nominal periods are not joined by a line…"""
GAP_MIN_NS = 50_000_000
"""…unless they are closer than this: a fast sampler may be late by several periods without having missed anything."""


def origin_ns(phases: Sequence[Phase], readings: pd.DataFrame) -> int | None:
    """Begin of the trial on the app's clock: the first phase or reading of the app; None if there is neither."""
    times = [phase.begin_ns for phase in phases]
    app = readings.loc[readings["source"] == Source.APP.value, "t_ns"]
    if len(app):
        times.append(int(app.min()))
    return min(times, default=None)


def gap_limit_ns(sample_hz: int) -> int:
    """Longest time between two samples that still counts as unbroken."""
    return max(GAP_PERIODS * 1_000_000_000 // sample_hz, GAP_MIN_NS)


def with_gaps(readings: pd.DataFrame, sample_hz: int) -> pd.DataFrame:
    """The app's readings by time, with an empty row (`pandas.NA` in every figure) inside every gap."""
    import pandas as pd  # here: pages are drawn without it

    app = readings[readings["source"] == Source.APP.value].sort_values("t_ns", kind="stable").reset_index(drop=True)
    steps = app["t_ns"].diff()
    late = steps[(steps > gap_limit_ns(sample_hz)).fillna(False).astype(bool)]
    if late.empty:
        return app
    breaks = pd.DataFrame({"t_ns": app.loc[late.index, "t_ns"] - late // 2}).reindex(columns=app.columns)
    breaks = breaks.astype(app.dtypes.to_dict())
    # a break belongs before the sample that ends the gap
    breaks.index = late.index - 0.5
    app.index = app.index.astype("float64")
    return pd.concat([app, breaks]).sort_index().reset_index(drop=True)


def representative(trials: pd.DataFrame) -> str | None:
    """Id of the trial that stands for its case: of those with telemetry that ended the most frequent way, the one with
    the median peak footprint (the lower of two; the earliest without a peak). None if no trial has telemetry.
    """
    candidates = trials[trials["telemetry_file"].notna()]
    if candidates.empty:
        return None
    commonest = trials["outcome"].value_counts()
    rank = candidates["outcome"].map(commonest).fillna(0)
    # where two ways are equally frequent, that of the earlier trial
    candidates = candidates[candidates["outcome"] == candidates["outcome"].iloc[int(rank.argmax())]]
    ordered = candidates.sort_values(["peak_footprint_bytes", "trial_id"], na_position="last")
    known = ordered[ordered["peak_footprint_bytes"].notna()]
    if known.empty:
        return str(ordered["trial_id"].iloc[0])
    return str(known["trial_id"].iloc[(len(known) - 1) // 2])

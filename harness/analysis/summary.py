"""What many trials of a case say together, and what the readings of one trial say. Pure; may know only `core`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low
from typing import Any

import pandas as pd

from harness.core.outcome import EMULATED_GPU, Outcome
from harness.core.telemetry import Reading, SampleGap, Source

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
    """Without the attempts that were cut short with their run and in whose place a later one stands."""
    return _kept(trials, ~_is_replaced(trials))


def counted(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that figures and counts are about: no warm-ups (ordinals below 1), no replaced attempts."""
    return _kept(trials, ~_is_replaced(trials) & trials["ordinal"].ge(1).astype(bool))


def _is_replaced(trials: pd.DataFrame) -> pd.Series[bool]:
    cut_short = trials["cut_short"].astype(bool)
    if not cut_short.any():
        return cut_short
    of_trial = [trials[name] for name in _TRIAL]
    latest = trials["attempt"].groupby(of_trial, sort=False, dropna=False).transform("max")
    # in a farm an attempt that was given up may come home late, whatever its number
    whole = (~cut_short).groupby(of_trial, sort=False, dropna=False).transform("any")
    return cut_short & ((trials["attempt"] < latest).astype(bool) | whole.astype(bool))


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


@dataclass(frozen=True)
class TelemetryFigures:
    """Figures of one trial's readings, named as the record's columns: `replace(record, **asdict(figures))`."""

    peak_footprint_bytes: int | None
    peak_resident_bytes: int | None
    footprint_limit_bytes: int | None
    host_peak_footprint_bytes: int | None
    sample_count: int
    sample_gap_max_ns: int | None
    last_sample_ns: int | None


def telemetry_figures(readings: Sequence[Reading]) -> TelemetryFigures:
    """The figures of readings in any order; None where no reading has what it takes (a gap needs two samples).

    The limit is the median of footprint + available: the two are read one after the other, so that a single sum may be
    off. A sample with nothing available is left out: the system says 0 at the limit, above it, and without a limit.
    """
    app = [reading for reading in readings if reading.source is Source.APP]
    times = sorted(reading.t_ns for reading in app)
    limits = [
        reading.footprint_bytes + reading.available_bytes
        for reading in app
        if reading.footprint_bytes is not None and reading.available_bytes
    ]
    return TelemetryFigures(
        peak_footprint_bytes=_largest(reading.footprint_bytes for reading in app),
        peak_resident_bytes=_largest(reading.resident_bytes for reading in app),
        footprint_limit_bytes=median_low(limits) if limits else None,
        host_peak_footprint_bytes=_largest(r.footprint_bytes for r in readings if r.source is Source.HOST),
        sample_count=len(app),
        sample_gap_max_ns=_largest(later - earlier for earlier, later in pairwise(times)),
        last_sample_ns=times[-1] if times else None,
    )


# A gap is three periods, so that one late sample is none; below 100 ms a busy phone's scheduler alone may be the cause,
# and no phase of a load that matters is shorter.
GAP_PERIODS = 3
GAP_FLOOR_NS = 100_000_000
# Gaps that are listed; of more than these the count tells.
MAX_GAPS = 32
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class SampleGaps:
    """Where the app's samples are further apart than they should be."""

    limit_ns: int
    """What counts as a gap."""
    count: int
    longest: tuple[SampleGap, ...]
    """The longest of them, at most MAX_GAPS, in order of time."""


def sample_gaps(readings: Iterable[Reading], sample_hz: int) -> SampleGaps:
    """The gaps between samples of the app, which was asked for `sample_hz` of them a second."""
    limit_ns = max(GAP_FLOOR_NS, GAP_PERIODS * NS_PER_S // sample_hz)
    times = sorted(reading.t_ns for reading in readings if reading.source is Source.APP)
    gaps = [SampleGap(earlier, later - earlier) for earlier, later in pairwise(times) if later - earlier > limit_ns]
    longest = sorted(gaps, key=lambda gap: gap.length_ns, reverse=True)[:MAX_GAPS]
    return SampleGaps(limit_ns, len(gaps), tuple(sorted(longest, key=lambda gap: gap.begin_ns)))


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)

"""What an export tells other tools at a glance: the devices, the builds, and each case's figures with statistics."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from harness.core.outcome import Outcome
from harness.core.record import TrialRecord, record_columns

FIGURES = (
    "load_ns",
    "ttft_ns",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "peak_footprint_bytes",
    "peak_resident_bytes",
    "kernel_peak_resident_bytes",
    "leftover_footprint_bytes",
    "host_peak_footprint_bytes",
)
"""Columns whose statistics are told."""
DEVICE = (
    "device_kind",
    "device_udid",
    "device_product_type",
    "device_os_version",
    "device_os_build",
    "device_settings",
)
BUILD = ("build", "app_bundle_id", "app_build", "app_commit", "app_variant", "engine", "engine_version")
CASE = (
    "suite", "case", "device_kind", "device_product_type", "device_os_version", "device_settings", "build", "app_build",
    "engine_version", "model_sha256", "arm",
)  # fmt: skip  # one name a line would hide that it is one key
"""What the trials of one entry share: nothing that makes figures incomparable is thrown together."""

_UNITS = {field.name: field.metadata["unit"] for field in record_columns()}


def devices(records: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """Each phone once, in order of first appearance."""
    return _distinct(records, DEVICE)


def builds(records: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """Each combination of build, app and engine once."""
    return _distinct(records, BUILD)


def benchmarks(records: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """An entry a case, device class and build: counts of outcomes, and statistics and data of the trials that loaded.

    Warm-ups and attempts that were cut short with their run are not counted. A figure that no trial has is not in
    `stats`; `stddev` is null where there is but one.
    """
    groups: dict[tuple[Any, ...], list[TrialRecord]] = {}
    for record in records:
        if record.ordinal >= 1 and not record.cut_short:
            groups.setdefault(tuple(getattr(record, name) for name in CASE), []).append(record)
    entries = []
    for key, members in groups.items():
        loaded = [record for record in members if record.outcome == Outcome.LOADED.value]
        figures = {
            name: [value for record in loaded if (value := getattr(record, name)) is not None] for name in FIGURES
        }
        entries.append(
            {
                **dict(zip(CASE, key, strict=True)),
                "trials": len(members),
                "outcomes": dict(Counter(record.outcome for record in members)),
                "stats": {name: _stats(name, values) for name, values in figures.items() if values},
                "data": {name: values for name, values in figures.items() if values},
            }
        )
    return entries


def _stats(name: str, values: Sequence[float]) -> dict[str, Any]:
    told: dict[str, Callable[[Sequence[float]], float]] = {
        "min": min,
        "max": max,
        "mean": statistics.fmean,
        "median": statistics.median,
        "stddev": statistics.stdev,
    }
    return {"unit": _UNITS[name], "rounds": len(values), **{what: _of(values, tell) for what, tell in told.items()}}


def _of(values: Sequence[float], tell: Callable[[Sequence[float]], float]) -> float | None:
    """None where there is no such figure: a deviation of one value, a sum beyond what a float holds."""
    try:
        told = tell(values)
    except (statistics.StatisticsError, OverflowError):
        return None
    return told if math.isfinite(told) else None


def _distinct(records: Iterable[TrialRecord], names: Sequence[str]) -> list[dict[str, Any]]:
    found = dict.fromkeys(tuple(getattr(record, name) for name in names) for record in records)
    return [dict(zip(names, key, strict=True)) for key in found]

"""What earlier records say of a prediction: by how much it was off for loads of the same kind.

Pure; may know only `core`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.core.outcome import Outcome

SAME_COLUMNS = (
    "device_kind", "device_product_type", "engine", "engine_version", "backend_requested", "cache_state",
)  # fmt: skip  # what a record must share with a load for its figures to count
USED_COLUMNS = (
    "outcome", "model_sha256", "peak_footprint_bytes", "predicted_peak_footprint_bytes", "prediction_calibration",
)  # fmt: skip  # what is read of it

FEWEST_RECORDS = 3
"""Fewer correct nothing: one odd trial is no rule."""
LOWEST_FACTOR = 0.8
HIGHEST_FACTOR = 1.25
"""A correction beyond these is no correction: then the prediction is of something else."""


@dataclass(frozen=True)
class Calibration:
    """By what a predicted peak is multiplied, and how many records that stands on."""

    factor: float = 1.0
    records: int = 0

    @property
    def words(self) -> str:
        """As the end of a list; empty without records."""
        return f"; × {self.factor:.3f} by {self.records} records" if self.records else ""


NOT_CALIBRATED = Calibration()


def calibration(records: Iterable[Mapping[str, Any]]) -> Calibration:
    """The median of measured over predicted peaks, of models first and then over models, within the limits above.

    `records`: of one kind, which is for the caller to see to: the same SAME_COLUMNS; with USED_COLUMNS.
    Records that were predicted with a correction count by what was predicted without it: corrections do not pile up.
    """
    ratios: dict[str, list[float]] = {}
    for record in records:
        measured, predicted = record["peak_footprint_bytes"], record["predicted_peak_footprint_bytes"]
        if record["outcome"] != Outcome.LOADED.value or measured is None or not predicted:
            continue
        used = record["prediction_calibration"]
        ratios.setdefault(record["model_sha256"], []).append(measured * (1.0 if used is None else used) / predicted)
    count = sum(map(len, ratios.values()))
    if count < FEWEST_RECORDS:
        return NOT_CALIBRATED
    factor = median(median(of_model) for of_model in ratios.values())
    return Calibration(min(max(factor, LOWEST_FACTOR), HIGHEST_FACTOR), count)

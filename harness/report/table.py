"""The summary as rows of text: the same for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis.summary import summarize
from harness.report.words import bytes_text, case_text, device_text, duration_text, outcomes_text, rate_text, rows_of

HEADINGS = (
    "Case",
    "Device",
    "Trials",
    "Outcome",
    "Expected",
    "Load",
    "First token",
    "Decode",
    "Peak footprint",
    "Limit",
    "Head-room",
)
EXPENDABLE = ("Trials", "Device", "Decode", "Limit", "First token")
"""What a narrow terminal goes without, the first first: the outcome counts the trials, a line above tells the phone."""


@dataclass(frozen=True)
class SummaryRow:
    """One case on one device class; `cells` are in the order of HEADINGS. Medians, over the trials that loaded."""

    cells: tuple[str, ...]
    as_expected: bool
    """Every trial ended as expected and within the suite's limits."""


def summary_table(frame: pd.DataFrame) -> list[SummaryRow]:
    """The rows for a frame of trials, as `ResultStore.frame` gives it."""
    rows = []
    for row in rows_of(summarize(frame)):
        cells = (
            case_text(row["case"], gpu_emulated=row["gpu_emulated"]),
            device_text(row),
            str(row["trials"]),
            outcomes_text(row["outcomes"]),
            _as_expected(row),
            duration_text(row["load_ns_median"]),
            duration_text(row["ttft_ns_median"]),
            rate_text(row["decode_tokens_per_s_median"]),
            bytes_text(row["peak_footprint_bytes_median"]),
            bytes_text(row["footprint_limit_bytes_median"]),
            bytes_text(row["head_room_bytes_median"]),
        )
        rows.append(SummaryRow(cells, bool(row["as_expected"]) and not row["over_limits"]))
    return rows


def _as_expected(row: Mapping[str, Any]) -> str:
    told = "yes" if row["as_expected"] else f"no: {row['expected_outcome']}"
    return f"{told}; over limits: {row['over_limits']} of {row['trials']}" if row["over_limits"] else told

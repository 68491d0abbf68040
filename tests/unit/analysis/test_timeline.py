"""What a timeline shows: its origin, its gaps, the trial that stands for the case."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.analysis.timeline import gap_limit_ns, origin_ns, representative, with_gaps
from harness.core.telemetry import Phase

MS = 1_000_000


def frame(*times_ms: int, source: str = "app") -> pd.DataFrame:
    times = pd.Series([time * MS for time in times_ms], dtype="Int64")
    return pd.DataFrame(
        {"source": source, "t_ns": times, "footprint_bytes": pd.Series([1] * len(times), dtype="Int64")}
    )


def test_the_origin_is_the_first_phase_or_sample_but_no_host_reading() -> None:
    both = pd.concat([frame(5, 9), frame(1, source="host")])
    assert origin_ns((), both) == 5 * MS
    assert origin_ns((Phase("map", 3 * MS),), both) == 3 * MS
    assert origin_ns((), frame(1, source="host")) is None


@pytest.mark.parametrize(("sample_hz", "limit_ms"), [(1000, 50), (100, 50), (50, 100), (1, 5000)])
def test_a_gap_is_five_periods_and_more_than_50_ms(sample_hz: int, limit_ms: int) -> None:
    assert gap_limit_ns(sample_hz) == limit_ms * MS
    whole = with_gaps(frame(0, limit_ms), sample_hz)
    broken = with_gaps(frame(0, limit_ms + 1, limit_ms + 2), sample_hz)
    assert whole["footprint_bytes"].tolist() == [1, 1]
    assert broken["footprint_bytes"].tolist() == [1, pd.NA, 1, 1]
    assert broken["t_ns"].is_monotonic_increasing
    assert str(broken["footprint_bytes"].dtype) == "Int64"


def test_gaps_in_unsorted_readings_without_the_hosts() -> None:
    mixed = pd.concat([frame(500, 0, 10), frame(250, source="host")])
    assert with_gaps(mixed, 100)["footprint_bytes"].tolist() == [1, 1, pd.NA, 1]
    assert with_gaps(frame(), 100).empty


def trials(*rows: tuple[str, str, int | None, str | None]) -> pd.DataFrame:
    columns = ("trial_id", "outcome", "peak_footprint_bytes", "telemetry_file")
    kinds: dict[str, Any] = dict.fromkeys(columns, "string") | {"peak_footprint_bytes": "Int64"}
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=kinds[name])
            for name, values in zip(columns, zip(*rows, strict=True), strict=True)
        }
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("1", "loaded", 9, "f"), ("2", "loaded", 1, "f"), ("3", "loaded", 5, "f"), ("4", "jetsam", 6, "f")], "3"),
        ([("1", "loaded", 9, "f"), ("2", "loaded", 1, "f")], "2"),
        ([("1", "loaded", None, "f"), ("2", "loaded", 7, "f")], "2"),
        ([("1", "lost", None, "f"), ("2", "lost", None, "f")], "1"),
        ([("1", "loaded", 9, None), ("2", "loaded", 9, None), ("3", "jetsam", 1, "f")], "3"),
        ([("1", "jetsam", 9, "f"), ("2", "loaded", 1, "f")], "1"),
        ([("1", "loaded", 9, None)], None),
    ],
)
def test_the_trial_that_stands_for_its_case(
    rows: list[tuple[str, str, int | None, str | None]], expected: str | None
) -> None:
    assert representative(trials(*rows)) == expected

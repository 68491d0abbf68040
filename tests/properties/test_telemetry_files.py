"""Whatever readings go into a file come out of it: None, 0 and large integers are three things."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.telemetry import READING_COLUMNS, Reading, Source
from harness.store.telemetry import TelemetrySpool, read_arrays, read_parquet, recover, write_parquet

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUE = st.one_of(st.none(), st.just(0), INT64)
NUMBERS = [name for name in READING_COLUMNS if name != "source"]
READING = st.builds(
    Reading,
    source=st.sampled_from(Source),
    t_ns=INT64,
    **{name: VALUE for name in READING_COLUMNS if name not in ("source", "t_ns")},
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(READING, max_size=5), max_size=4))
def test_spool_round_trip(batches: list[list[Reading]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.arrows"
        with TelemetrySpool(path) as spool:
            for batch in batches:
                spool.append(batch)
        assert recover(path) == [reading for batch in batches for reading in batch]


@settings(max_examples=50, deadline=None)
@given(st.lists(READING, max_size=8))
def test_arrays_are_what_the_frame_is(readings: list[Reading]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_parquet(path, readings)
        frame, arrays = read_parquet(path), read_arrays(path)
    assert arrays.t_ns.tolist() == frame["t_ns"].tolist()
    assert arrays.of_app.tolist() == [source == "app" for source in frame["source"]]
    assert arrays.of_host.tolist() == [source == "host" for source in frame["source"]]
    assert list(arrays.columns) == [name for name in NUMBERS if name != "t_ns" and frame[name].notna().any()]
    for name, column in arrays.columns.items():
        assert column.known.tolist() == frame[name].notna().tolist()
        assert column.values.tolist() == frame[name].fillna(0).tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(READING, min_size=1, max_size=8))
def test_parquet_round_trip(readings: list[Reading]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_parquet(path, readings)
        frame = read_parquet(path)
    rows = []
    for row in frame.to_dict("records"):
        numbers: dict[str, Any] = {name: None if pd.isna(row[name]) else int(row[name]) for name in NUMBERS}
        rows.append(Reading(source=Source(row["source"]), **numbers))

    def order(reading: Reading) -> tuple[object, ...]:
        return (
            reading.source,
            *((value is None, value or 0) for value in (getattr(reading, name) for name in NUMBERS)),
        )

    assert sorted(rows, key=order) == sorted(readings, key=order)
    assert [row.t_ns for row in rows] == sorted(reading.t_ns for reading in readings)

"""Telemetry files: what is torn, foreign or wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.core.telemetry import READING_COLUMNS, Reading, Source
from harness.store.errors import StoreError
from harness.store.telemetry import TelemetrySpool, read_arrays, read_parquet, recover, write_parquet

READING = Reading(Source.APP, 1, 1, footprint_bytes=2)


def test_a_stream_torn_at_any_byte_gives_whole_batches_only(tmp_path: Path) -> None:
    path = tmp_path / "t.arrows"
    ends = []
    with TelemetrySpool(path) as spool:
        for number in range(3):
            spool.append([replace(READING, t_ns=number)])
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    torn = tmp_path / "torn.arrows"
    for cut in range(len(data) + 1):
        torn.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert [reading.t_ns for reading in recover(torn)] == list(range(whole))


def test_an_empty_spool_gives_nothing(tmp_path: Path) -> None:
    with TelemetrySpool(tmp_path / "t.arrows") as spool:
        spool.append([])
    assert recover(tmp_path / "t.arrows") == []


def test_a_second_spool_of_the_same_trial_is_refused(tmp_path: Path) -> None:
    with TelemetrySpool(tmp_path / "t.arrows"), pytest.raises(StoreError, match="cannot start"):
        TelemetrySpool(tmp_path / "t.arrows")


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.5, "1", True])
def test_a_bad_value_is_named_and_leaves_the_stream_whole(tmp_path: Path, value: object) -> None:
    path = tmp_path / "t.arrows"
    with TelemetrySpool(path) as spool:
        spool.append([READING])
        with pytest.raises(StoreError, match="resident_bytes"):
            spool.append([replace(READING, resident_bytes=value)])  # type: ignore[arg-type]  # what is refused
        spool.append([READING])
    assert recover(path) == [READING, READING]


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    spool = TelemetrySpool(tmp_path / "t.arrows")
    spool.close()
    spool.close()
    with pytest.raises(StoreError, match="closed"):
        spool.append([READING])


def test_a_reading_without_time_is_refused(tmp_path: Path) -> None:
    timeless = replace(READING, t_ns=None)  # type: ignore[arg-type]  # what is refused
    with TelemetrySpool(tmp_path / "t.arrows") as spool, pytest.raises(StoreError, match="t_ns is None"):
        spool.append([timeless])


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xff\xff\xff\xff" * 1000)
    with pytest.raises(StoreError, match="not a telemetry stream"):
        recover(path)
    with pytest.raises(StoreError, match="not a readable Parquet"):
        read_parquet(path)
    with pytest.raises(StoreError, match="no such"):
        read_parquet(tmp_path / "absent")
    table = pa.table({"colour": [1]})
    pq.write_table(table, path)
    with pytest.raises(StoreError, match="colour"):
        read_parquet(path)
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(StoreError, match="colour"):
        recover(path)


def test_a_telemetry_file_of_another_make_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, [READING, replace(READING, t_ns=5)])
    texts = pq.read_table(path).cast(pa.schema([pa.field(name, pa.string()) for name in READING_COLUMNS]))
    pq.write_table(texts, tmp_path / "texts.parquet")
    with pytest.raises(StoreError, match="other types"):
        read_parquet(tmp_path / "texts.parquet")
    timeless = pq.read_table(path).set_column(1, "t_ns", pa.array([None, 1], pa.int64()))
    pq.write_table(timeless, tmp_path / "timeless.parquet")
    with pytest.raises(StoreError, match="readings without t_ns"):
        read_parquet(tmp_path / "timeless.parquet")
    plain = pq.read_table(path).set_column(0, "source", pa.array(["app", "app"]))
    pq.write_table(plain, tmp_path / "plain.parquet")
    assert read_parquet(tmp_path / "plain.parquet")["source"].tolist() == ["app", "app"]
    monkeypatch.setattr("harness.store.telemetry.MAX_READINGS", 1)
    with pytest.raises(StoreError, match="2 readings"):
        read_parquet(path)


def test_arrays_of_files_that_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, [READING, replace(READING, t_ns=2, footprint_bytes=2**53 + 1, thermal=0)])
    turned = pq.read_table(path).take([1, 0]).drop_columns(["cow_faults"])
    pq.write_table(turned.set_column(0, "source", pa.array(["elsewhere", "host"])), path)
    found = read_arrays(path)
    assert found.t_ns.tolist() == [1, 2]
    assert found.of_host.tolist() == [True, False]
    assert not found.of_app.any()
    assert found.columns["footprint_bytes"].values.tolist() == [2, 2**53 + 1]
    assert "cow_faults" not in found.columns
    assert [str(value) for value in found.floats("thermal")] == ["nan", "0.0"]
    assert [str(value) for value in found.floats("cow_faults")] == ["nan", "nan"]
    with pytest.raises(StoreError, match="no such telemetry"):
        read_arrays(tmp_path / "gone.parquet")


def test_a_folder_that_is_gone_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_parquet(tmp_path / "gone" / "t.parquet", [READING])


def test_parquet_is_sorted_compressed_and_nullable(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, [replace(READING, t_ns=2, cpu_ns=0), Reading(Source.HOST, 1, footprint_bytes=2**53 + 1)])
    frame = read_parquet(path)
    assert frame["t_ns"].tolist() == [1, 2]
    assert frame["source"].tolist() == ["host", "app"]
    assert frame["cpu_ns"].tolist() == [pd.NA, 0]
    assert frame["footprint_bytes"].tolist() == [2**53 + 1, 2]
    assert isinstance(frame["source"].dtype, pd.CategoricalDtype)
    assert {str(frame[name].dtype) for name in frame if name != "source"} == {"Int64"}
    assert pq.ParquetFile(path).metadata.row_group(0).column(1).compression == "ZSTD"
    assert list(tmp_path.iterdir()) == [path]

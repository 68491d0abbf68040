"""Exports as columns: Parquet, or Feather (an Arrow file). For reading only; JSON and CSV can be imported again.

Types are the record's, null is null; lists and objects are JSON text. Each column's unit and meaning is in its field's
metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.record import TrialRecord, record_columns
from harness.store.exchange.json_files import FORMAT, VERSION
from harness.store.exchange.records import record_to_plain
from harness.store.schema import RECORD_TYPES, SCHEMA_VERSION

_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    dict: pa.string(),
    tuple: pa.string(),
}


def write_parquet(target: BinaryIO, records: Sequence[TrialRecord]) -> None:
    """One file, compressed with zstd."""
    pq.write_table(_table(records), target, compression="zstd")


def write_feather(target: BinaryIO, records: Sequence[TrialRecord]) -> None:
    """An Arrow file, compressed with zstd, which `pandas.read_feather` reads."""
    table = _table(records)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    whole = pa.BufferOutputStream()
    with pa.ipc.new_file(whole, table.schema, options=options) as writer:
        writer.write_table(table)
    target.write(whole.getvalue())


def _schema() -> pa.Schema:
    fields = []
    for column in record_columns():
        plain, optional = RECORD_TYPES[column.name]
        about = {"unit": column.metadata["unit"], "doc": column.metadata["doc"]}
        fields.append(pa.field(column.name, _TYPES[plain], nullable=optional, metadata=about))
    return pa.schema(
        fields, metadata={"format": FORMAT, "version": str(VERSION), "schema_version": str(SCHEMA_VERSION)}
    )


def _table(records: Sequence[TrialRecord]) -> pa.Table:
    schema = _schema()
    rows = [record_to_plain(record) for record in records]
    return pa.Table.from_arrays([pa.array(_column(rows, field.name), field.type) for field in schema], schema=schema)


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    values = [row[name] for row in rows]
    if RECORD_TYPES[name][0] not in (dict, tuple):
        return values
    return [None if value is None else json.dumps(value, allow_nan=False) for value in values]

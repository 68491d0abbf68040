"""Readings on disk: an Arrow stream while the trial runs, one Parquet file afterwards.

A Parquet file is unreadable until it is closed, so a killed process would lose all; of the stream, every batch whose
`append` has returned is kept. Missing stays missing (null, `pandas.NA`): it never becomes 0 or a float.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core.telemetry import READING_COLUMNS, Reading, Source
from harness.core.units import INT64_MAX, INT64_MIN
from harness.store.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SPOOL_SUFFIX = ".arrows"
PARQUET_SUFFIX = ".parquet"
PART_SUFFIX = ".part"
"""A file that is still being written; renamed when it is complete and on disk."""

MAX_READINGS = 20_000_000
"""Of a file that is read: hours at 1 kHz from several sources. A small file can claim, and unpack to, far more."""

_NEVER_NULL = ("source", "t_ns")


def _schema(source_type: pa.DataType) -> pa.Schema:
    """`source`, and 64-bit integers for everything else."""
    types = {name: source_type if name == "source" else pa.int64() for name in READING_COLUMNS}
    return pa.schema([pa.field(name, kind, nullable=name not in _NEVER_NULL) for name, kind in types.items()])


SPOOL_SCHEMA = _schema(pa.string())
PARQUET_SCHEMA = _schema(pa.dictionary(pa.int8(), pa.string()))
_HEAD_BYTES = SPOOL_SCHEMA.serialize().size
_FIRST_COLUMNS = frozenset(READING_COLUMNS) - {
    "graphics_bytes",
    "internal_bytes",
    "external_bytes",
    "decompressions",
    "swapins",
    "cow_faults",
}
"""What every file has; the rest came later."""
# Neighbouring readings differ by little, and times by almost the same: differences pack to a fraction.
_ENCODING = {name: "DELTA_BINARY_PACKED" for name in READING_COLUMNS if name != "source"}


def _batch(readings: Sequence[Reading], where: Path) -> pa.RecordBatch:
    """Checked here, for Arrow makes integers of fractions without a word."""
    columns = []
    for field in SPOOL_SCHEMA:
        values = [getattr(reading, field.name) for reading in readings]
        if field.name == "source":
            columns.append(_texts(values))
            continue
        for value in values:
            missing = value is None and field.nullable
            if not missing and (type(value) is not int or not INT64_MIN <= value <= INT64_MAX):
                raise StoreError(f"{where}: a reading's {field.name} is {value!r}, not a 64-bit integer")
        columns.append(_integers(values))
    return pa.RecordBatch.from_arrays(columns, schema=SPOOL_SCHEMA)


# `pa.array` of a list would load pandas, only to see that it is no series: in a running trial, and in each process that
# a farm's host has for a phone
def _integers(values: Sequence[int | None]) -> pa.Array[Any]:
    known = np.array([value is not None for value in values], dtype=bool)
    figures = np.array([0 if value is None else value for value in values], dtype=np.int64)
    holes = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.int64(), len(values), [holes, pa.py_buffer(figures.tobytes())])


def _texts(values: Sequence[str]) -> pa.Array[Any]:
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(values), [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(encoded))]
    )


class TelemetrySpool:
    """The growing stream of one trial. `append` returns when the batch would survive a kill of this process."""

    def __init__(self, path: Path) -> None:
        """Makes the file; raises StoreError if there is one, for it would be another trial's."""
        try:
            self._file: BinaryIO = path.open("xb")
        except OSError as error:
            raise StoreError(f"{path}: cannot start the trial's telemetry: {error.strerror}") from error
        self.path = path
        self._writer = pa.ipc.new_stream(self._file, SPOOL_SCHEMA)
        self._file.flush()

    def append(self, readings: Sequence[Reading]) -> None:
        """Adds readings as one batch; an empty sequence adds nothing. Bad values leave the stream as it was."""
        if not readings:
            return
        if self._file.closed:
            raise StoreError(f"{self.path}: readings came after the spool was closed")
        batch = _batch(readings, self.path)
        try:
            self._writer.write_batch(batch)
            self._file.flush()
        except OSError as error:
            # a batch may have been cut off: nothing after it could be read
            self._file.close()
            raise StoreError(f"{self.path}: telemetry can no longer be written: {error.strerror}") from error

    def close(self) -> None:
        """Ends the stream. May be called twice."""
        if not self._file.closed:
            self._writer.close()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def recover(spool: Path) -> list[Reading]:
    """The readings of every whole batch of a stream, torn or ended.

    Raises StoreError if the file is longer than a stream's head and yet none, or has other columns. A stream of an
    older harness lacks the columns that came later: they are None.
    """
    data = spool.read_bytes()
    try:
        stream = pa.ipc.open_stream(pa.py_buffer(data))
    except (pa.ArrowException, OSError) as error:
        if len(data) < _HEAD_BYTES:
            return []
        raise StoreError(f"{spool}: not a telemetry stream ({error}); move it away") from error
    known = [field for field in SPOOL_SCHEMA if field.name in stream.schema.names]
    if not _FIRST_COLUMNS.issubset(stream.schema.names) or not stream.schema.equals(pa.schema(known)):
        raise StoreError(f"{spool}: has the columns {stream.schema.names}; another version of the harness wrote it")
    readings: list[Reading] = []
    while True:
        try:
            batch = stream.read_next_batch()
            batch.validate(full=True)
        except (StopIteration, pa.ArrowException, OSError):
            # the end, or the batch in which the writer was killed
            return readings
        try:
            readings += [Reading(**{**row, "source": Source(row["source"])}) for row in batch.to_pylist()]
        except ValueError as error:
            raise StoreError(f"{spool}: a reading is of no source that there is ({error}); move it away") from error


def write_parquet(path: Path, readings: Sequence[Reading]) -> None:
    """Writes readings, sorted by time, so that `path` is either complete and on disk or not there; else StoreError."""
    ordered = sorted(readings, key=lambda reading: (reading.t_ns, reading.source, reading.seq or 0))
    table = pa.Table.from_batches([_batch(ordered, path)]).cast(PARQUET_SCHEMA)
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        with part.open("wb") as file:
            pq.write_table(
                table,
                file,
                compression="zstd",
                use_dictionary=["source"],  # type: ignore[arg-type]  # the stubs know only all columns or none
                column_encoding=_ENCODING,
            )
        sync_file(part)
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: the trial's telemetry cannot be written ({error}); its stream is kept beside it"
        ) from error


def read_parquet(path: Path) -> pd.DataFrame:
    """Readings as a frame: `source` categorical, all else Int64 with `pandas.NA` where missing; sorted by `t_ns`.

    Raises StoreError if the file is absent, damaged, too long or has other columns. What a file of an older harness
    lacks is NA.
    """
    import pandas as pd  # here: 1.5 s that a running trial does not need

    table = _table(path)
    for position, name in enumerate(READING_COLUMNS):
        if name not in table.schema.names:
            table = table.add_column(position, name, pa.nulls(table.num_rows, pa.int64()))
    return table.to_pandas(types_mapper=lambda kind: pd.Int64Dtype() if kind == pa.int64() else None)


@dataclass(frozen=True)
class Column:
    """A figure of every reading: `[n]`."""

    values: NDArray[np.int64]
    """0 where it is missing."""
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class ReadingArrays:
    """Readings as arrays of one length, in order of time."""

    t_ns: NDArray[np.int64]
    of_app: NDArray[np.bool_]
    of_host: NDArray[np.bool_]
    columns: Mapping[str, Column]
    """Those of which some reading has a figure, in the order of READING_COLUMNS; without source and time."""

    @classmethod
    def none(cls) -> ReadingArrays:
        """Of a trial without readings."""
        nothing = np.zeros(0, dtype=bool)
        return cls(np.zeros(0, dtype=np.int64), nothing, nothing, {})

    def floats(self, name: str) -> NDArray[np.float64]:
        """The column, NaN where it is missing: `[n]`."""
        column = self.columns.get(name)
        if column is None:
            return np.full(self.t_ns.shape, np.nan)
        return np.where(column.known, column.values.astype(np.float64), np.nan)


def read_arrays(path: Path) -> ReadingArrays:
    """As `read_parquet`, for what draws hundreds of trials: a fifth of its time. Raises StoreError as that does."""
    table = _table(path)
    t_ns = table.column("t_ns").to_numpy()
    order = None if bool((t_ns[1:] >= t_ns[:-1]).all()) else np.argsort(t_ns, kind="stable")

    def by_time(values: NDArray[Any]) -> NDArray[Any]:
        return values if order is None else values[order]

    columns = {}
    for name in table.schema.names:
        figures = table.column(name)
        if name not in _NEVER_NULL and figures.null_count < table.num_rows:
            known = by_time(figures.is_valid().to_numpy())
            columns[name] = Column(by_time(figures.fill_null(pa.scalar(0)).to_numpy()), known)
    sources = table.column("source").cast(pa.string()).to_numpy()
    of_app, of_host = (by_time(sources == source.value) for source in (Source.APP, Source.HOST))
    return ReadingArrays(by_time(t_ns), of_app, of_host, columns)


def _table(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            if rows > MAX_READINGS:
                raise StoreError(f"{path}: has {rows} readings; more than {MAX_READINGS} are none of a trial")
            # before its columns are unpacked: others' columns may be of any size
            _check_columns(path, file.schema_arrow)
            # a trial's readings are too few for threads to be worth their start
            table = file.read(use_threads=False)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: there is no such telemetry file") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: not a readable Parquet file ({error})") from error
    if unknown := [name for name in _NEVER_NULL if table.column(name).null_count]:
        raise StoreError(f"{path}: has readings without {' and '.join(unknown)}; another program wrote it")
    return table


def _check_columns(path: Path, schema: pa.Schema) -> None:
    names = schema.names
    if names != [name for name in READING_COLUMNS if name in names] or not _FIRST_COLUMNS.issubset(names):
        raise StoreError(f"{path}: has the columns {names}; another version of the harness wrote it")
    if strange := [field for field in schema if not _is_ours(field)]:
        types = ", ".join(f"{field.name}: {field.type}" for field in strange)
        raise StoreError(f"{path}: has columns of other types ({types}); another program wrote it")


def _is_ours(field: pa.Field[Any]) -> bool:
    """Whether it is of the type that we write; how wide a dictionary's numbers come back is the library's affair."""
    if field.name != "source":
        return pa.types.is_int64(field.type)
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def sync_file(path: Path) -> None:
    """Puts a written file's bytes on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Puts the folder's entries on disk: a rename is durable only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

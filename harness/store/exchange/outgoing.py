"""Trials into a file, in the format that its name says, complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

from harness.core.errors import UsageError
from harness.core.record import TrialRecord
from harness.store.errors import StoreError
from harness.store.exchange.csv_files import write_csv
from harness.store.exchange.json_files import write_json, write_json_lines
from harness.store.whole_file import whole_file


class Format(StrEnum):
    JSON = "json"
    JSON_LINES = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    FEATHER = "feather"


IMPORTABLE = (Format.JSON, Format.JSON_LINES, Format.CSV)
COLUMNAR = (Format.PARQUET, Format.FEATHER)
_TEXT_WRITERS: dict[Format, Callable[[TextIO, Sequence[TrialRecord]], None]] = {
    Format.JSON: write_json,
    Format.JSON_LINES: write_json_lines,
    Format.CSV: write_csv,
}


def format_of(path: Path, among: Sequence[Format] = tuple(Format)) -> Format:
    """By the name's suffix; raises UsageError for another."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in among:
        known = ", ".join(f".{one}" for one in among)
        raise UsageError(f"{path}: the name does not say in which format; it ends with one of {known}")
    return Format(suffix)


def write_records(target: BinaryIO, records: Sequence[TrialRecord], form: Format) -> None:
    """The trials in the order given."""
    if form in COLUMNAR:
        from harness.store.exchange import arrow_files  # here: Arrow takes a quarter of a second to load

        writer = arrow_files.write_parquet if form is Format.PARQUET else arrow_files.write_feather
        writer(target, records)
        return
    # newline="": the lines end as the format says, on every system
    text = TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    try:
        _TEXT_WRITERS[form](text, records)
    finally:
        text.detach()


def write_file(path: Path, records: Sequence[TrialRecord], form: Format) -> None:
    """As `write_records`; what was under the name is replaced once the new file is on disk. Raises StoreError."""
    try:
        with whole_file(path) as file:
            write_records(file, records, form)
    except OSError as error:
        raise StoreError(f"{path}: the export cannot be written: {error.strerror}") from error

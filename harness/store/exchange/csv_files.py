"""Exports as CSV: a row a trial, and a first column that says the version of the others.

An empty cell is null, always. A text that is empty, or begins with what a spreadsheet takes for a formula or with an
apostrophe, has one apostrophe before it, which the import takes off again; numbers are written as they are. Lists and
objects are JSON.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, TextIO

from harness.core.record import TrialRecord
from harness.store.exchange.errors import ExchangeError, named, shown
from harness.store.exchange.json_files import parse_any
from harness.store.exchange.records import plain_to_record, record_to_plain
from harness.store.schema import RECORD_TYPES, SCHEMA_VERSION

VERSION_COLUMN = "schema_version"
GUARD = "'"
GUARDED = ("'", "=", "+", "-", "@", "\t", "\r")
"""What a text may begin with that a spreadsheet does not leave alone."""
MAX_COLUMNS = 1_000
MAX_CELL = 4 * 1024 * 1024
"""Characters."""

_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}\Z", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,320}(\.[0-9]{1,320})?([eE][+-]?[0-9]{1,3})?\Z", re.ASCII)
_YES_OR_NO = {"true": True, "false": False}


def write_csv(target: TextIO, records: Sequence[TrialRecord]) -> None:
    """Lines end as RFC 4180 says, with CR LF: the csv module quotes just the characters of its line end."""
    writer = csv.writer(target)
    writer.writerow((VERSION_COLUMN, *RECORD_TYPES))
    for record in records:
        row = record_to_plain(record)
        writer.writerow((SCHEMA_VERSION, *(cell(row[name], plain) for name, (plain, _) in RECORD_TYPES.items())))


def read_csv(table: CsvTable) -> Iterator[TrialRecord]:
    """The trials of an export; raises ExchangeError naming the row, the column and what is wrong."""
    for where, cells in table.rows():
        older = _version(cells.pop(VERSION_COLUMN), where) < SCHEMA_VERSION
        yield plain_to_record(typed(cells, where), where, absent=older)


def _version(text: str | None, where: str) -> int:
    if text is None or not _VERSION.match(text):
        raise ExchangeError(f"{where}: {VERSION_COLUMN} is {shown(text)}, not a whole number from 1")
    if int(text) > SCHEMA_VERSION:
        raise ExchangeError(
            f"{where}: {VERSION_COLUMN} {text} is newer than this harness knows ({SCHEMA_VERSION}): "
            "use the harness that wrote it"
        )
    return int(text)


class CsvTable:
    """A CSV file's head and rows, with bounds; raises ExchangeError for what is none."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines = csv.reader(StringIO(text, newline=""), strict=True)
        with _named(name, self):
            self.columns = next(self._lines, [])
        if not self.columns:
            raise ExchangeError(f"{name}: empty; a CSV begins with a row of column names")
        if len(self.columns) > MAX_COLUMNS:
            raise ExchangeError(f"{name}: {len(self.columns)} columns; at most {MAX_COLUMNS}")
        twice = [column for column in dict.fromkeys(self.columns) if self.columns.count(column) > 1]
        if twice:
            raise ExchangeError(f"{name}: there more than once: {named(twice)}")

    @property
    def is_export(self) -> bool:
        """Whether the harness wrote it; else it holds figures of somebody else."""
        return VERSION_COLUMN in self.columns

    @property
    def line(self) -> int:
        return int(self._lines.line_num)

    def rows(self) -> Iterator[tuple[str, dict[str, str | None]]]:
        """(where, column → cell) of every row but empty ones; an empty cell is None."""
        while True:
            with _named(self.name, self):
                cells = next(self._lines, None)
            if cells is None:
                return
            where = f"{self.name}: line {self.line}"
            if not cells:
                continue
            if len(cells) != len(self.columns):
                raise ExchangeError(f"{where}: {len(cells)} cells, yet there are {len(self.columns)} columns")
            yield where, {column: text or None for column, text in zip(self.columns, cells, strict=True)}


@contextmanager
def _named(name: str, table: CsvTable) -> Iterator[None]:
    # the bound is the csv module's, for the whole process: as long as a row is read
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    except csv.Error as error:
        raise ExchangeError(f"{name}: line {table.line}: not CSV: {error}") from None
    finally:
        csv.field_size_limit(before)


def cell(value: Any, plain: type) -> str:
    """A value as a cell."""
    if value is None:
        return ""
    if plain is str:
        return GUARD + value if not value or value.startswith(GUARDED) else str(value)
    if plain in (dict, tuple):
        return json.dumps(value, allow_nan=False)
    return str(value).lower() if plain is bool else repr(value)


def typed(cells: Mapping[str, str | None], where: str) -> dict[str, Any]:
    """Cells as values of their columns; unknown columns stay what they are, for others to refuse."""
    return {
        name: text if text is None or name not in RECORD_TYPES else _value(text, name, f"{where}: {name}")
        for name, text in cells.items()
    }


def _value(text: str, name: str, place: str) -> Any:
    plain, _ = RECORD_TYPES[name]
    if plain is str:
        return text.removeprefix(GUARD)
    if plain is int and _INTEGER.match(text):
        return int(text)
    if plain is float and _NUMBER.match(text):
        return float(text)
    if plain is bool and text in _YES_OR_NO:
        return _YES_OR_NO[text]
    if plain in (dict, tuple):
        return parse_any(text, place)
    kind = {int: "an integer", float: "a number", bool: "true or false"}[plain]
    raise ExchangeError(f"{place} is {shown(text)}, not {kind}")

"""Files with trials of elsewhere, checked, and their way into these results: all of a file, or nothing of it.

A trial that is here already is skipped when it is the same, and refused when it differs: a record is never replaced.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from harness.store.exchange.csv_files import CsvTable, read_csv
from harness.store.exchange.errors import ExchangeError, named
from harness.store.exchange.foreign_csv import read_foreign_csv
from harness.store.exchange.json_files import read_json, read_json_lines
from harness.store.exchange.outgoing import IMPORTABLE, Format, format_of
from harness.store.schema import record_to_row, row_to_record, trials

MAX_FILE_BYTES = 512 * 1024 * 1024
"""A file of JSON or CSV; whole results are merged and not imported."""
MAX_ORIGIN = 256
"""Characters."""
OF_A_PLACE = ("origin", "files_removed_at", "telemetry_file", "artifacts_dir")
"""Columns that say where a record is and not what happened: no part of what makes two records the same."""

_CHUNK = 500


@dataclass(frozen=True)
class Incoming:
    """What a file holds, in its order; of a trial that is there twice, once."""

    name: str
    records: tuple[TrialRecord, ...]


@dataclass(frozen=True)
class Taken:
    """Ids of the trials that were added, and of those that were here already."""

    added: tuple[str, ...]
    skipped: tuple[str, ...]


def read_file(path: Path, given: Mapping[str, str] | None = None) -> Incoming:
    """The trials of an export, or of a CSV with figures of another harness (`given`: cells that all its rows have).

    They are as they were there, but for `telemetry_file` and `artifacts_dir`, which are None: a file has none with it.
    Raises ExchangeError naming the file, the place in it, and what is wrong.
    """
    form = format_of(path, IMPORTABLE)
    text = _text(path)
    name = path.name
    if form is Format.CSV:
        table = CsvTable(text, name)
        records = read_csv(table) if table.is_export else read_foreign_csv(table, given)
        given = None if not table.is_export else given
    else:
        records = read_json(text, name) if form is Format.JSON else read_json_lines(text, name)
    if given:
        raise ExchangeError(f"{name}: an export of the harness says everything itself; leave out {named([*given])}")
    return Incoming(name, tuple(_once(records, name)))


def take_in(store: ResultStore, incoming: Incoming) -> Taken:
    """Adds the trials that are not here, with where they come from, in one transaction.

    Raises ExchangeError naming the trials that are here with another content; then nothing was added.
    """
    try:
        with store.writing() as connection:
            new, skipped = new_among(connection, incoming.records, incoming.name)
            insert(connection, (with_origin(record, incoming.name) for record in new))
    except IntegrityError as error:
        raise ExchangeError(f"{incoming.name}: another process began a trial of the same id: import again") from error
    return Taken(tuple(record.trial_id for record in new), skipped)


def new_among(
    connection: Connection, records: Iterable[TrialRecord], name: str
) -> tuple[list[TrialRecord], tuple[str, ...]]:
    """The records that are not in the database, and the ids of those that are; raises ExchangeError if they differ."""
    new: list[TrialRecord] = []
    skipped: list[str] = []
    differing: list[str] = []
    for chunk in chunks(records):
        ids = [record.trial_id for record in chunk]
        found = connection.execute(select(trials).where(trials.c.trial_id.in_(ids))).mappings()
        here = {row["trial_id"]: row_to_record(dict(row)) for row in found}
        for record in chunk:
            if record.trial_id not in here:
                new.append(record)
            elif is_same(record, here[record.trial_id]):
                skipped.append(record.trial_id)
            else:
                different = differences(record, here[record.trial_id])
                differing.append(f"{record.trial_id} ({', '.join(different[:3])})")
    if differing:
        raise ExchangeError(
            f"{name}: here with another content: {named(differing)}; nothing was taken. One of the two was changed "
            "by hand or damaged: see `harness results show ID`"
        )
    return new, tuple(skipped)


def insert(connection: Connection, records: Iterable[TrialRecord]) -> None:
    """Adds the rows."""
    for chunk in chunks(records):
        connection.execute(trials.insert(), [record_to_row(record) for record in chunk])


def with_origin(record: TrialRecord, name: str) -> TrialRecord:
    """The record as one of another place; what it said of its own origin comes after."""
    told = name if record.origin is None else f"{name}, there from {record.origin}"
    return replace(record, origin=told[:MAX_ORIGIN])


def is_same(one: TrialRecord, other: TrialRecord) -> bool:
    """Whether two records tell of one trial the same."""
    # the same objects mostly, and then quickly; else as the database keeps them
    return replace(one, **{name: getattr(other, name) for name in OF_A_PLACE}) == other or not differences(one, other)


def differences(one: TrialRecord, other: TrialRecord) -> list[str]:
    """Columns in which they differ."""
    first, second = _content(one), _content(other)
    return [name for name, value in first.items() if value != second[name]]


def chunks(records: Iterable[TrialRecord]) -> Iterator[list[TrialRecord]]:
    """So many at a time as a statement may name."""
    rest = iter(records)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def _content(record: TrialRecord) -> dict[str, Any]:
    return {name: value for name, value in record_to_row(record).items() if name not in OF_A_PLACE}


def _once(records: Iterable[TrialRecord], name: str) -> Iterator[TrialRecord]:
    seen: dict[str, TrialRecord] = {}
    for record in records:
        before = seen.setdefault(record.trial_id, record)
        if before is record:
            yield replace(record, telemetry_file=None, artifacts_dir=None)
        elif not is_same(before, record):
            raise ExchangeError(
                f"{name}: trial {record.trial_id} is there twice and differs in {named(differences(before, record))}"
            )


def _text(path: Path) -> str:
    """Of a regular file; a pipe could go on for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ExchangeError(f"{path}: not a file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ExchangeError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ExchangeError(
            f"{path}: more than {MAX_FILE_BYTES >> 20} MiB; export less at a time (--since, --suite), or merge the "
            "results themselves: harness results merge"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExchangeError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None

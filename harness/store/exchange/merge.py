"""Other results into these: records, telemetry, artifacts, kept suites, and what was said of verdicts.

The other results are only read; a SQLite file of an older version is migrated in a copy. A trial's files are on disk
here before its row is. A merge that was cut short is begun again, and goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Table, select, update
from sqlalchemy.exc import IntegrityError

from harness.core.errors import UsageError
from harness.core.record import TrialRecord, TrialState
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.exchange.errors import ExchangeError
from harness.store.exchange.files import copy_file, copy_tree, inside, size_of
from harness.store.exchange.incoming import chunks, insert, new_among, with_origin
from harness.store.exchange.records import SUITE_DIGEST, plain_to_record, record_to_plain
from harness.store.owner import exclusive
from harness.store.schema import confirmations, triage, trials

LOCK_NAME = ".exchange.lock"
"""Held while files are here that no row names yet, and while such files are removed."""
SUITES = "suites"
"""Where runs keep copies of their suites, by digest."""


@dataclass
class Merged:
    """What a merge did; ids of trials unless said otherwise."""

    added: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Here already, and the same."""
    completed: list[str] = field(default_factory=list)
    """Here already but without their files, which they now have."""
    running: list[str] = field(default_factory=list)
    """Left out: they run there, or their process is gone and nobody has salvaged them."""
    without_files: list[str] = field(default_factory=list)
    """Added, yet the files that their rows name are not there, or not in the other folder."""
    remarks: int = 0
    """Rows of triage and confirmations added."""
    copied_bytes: int = 0


@dataclass(frozen=True)
class _Files:
    """Of one trial, in the other folder; None: it has none."""

    telemetry: Path | None
    artifacts: Path | None

    @property
    def size_bytes(self) -> int:
        return sum(size_of(path) for path in (self.telemetry, self.artifacts) if path is not None)


def merge(store: ResultStore, other: ResultsAddress) -> Merged:
    """Adds what `other` has and `store` has not.

    Raises UsageError when the two are the same results, ExchangeError naming the trials that are in both and differ
    (nothing was taken then), StoreError when a file cannot be read or written.
    """
    if _same_place(other, store.address):
        raise UsageError(f"{other.text} is what it would be merged into; name other results")
    merged = Merged()
    with ResultStore.open_existing(other) as source, exclusive(store.folder / LOCK_NAME):
        records = source.trials()
        merged.running = [one.trial_id for one in records if one.state != TrialState.DONE.value]
        done = [_checked(one, other) for one in records if one.state == TrialState.DONE.value]
        with store.reading() as connection:
            new, skipped = new_among(connection, done, other.text)
        merged.skipped = list(skipped)
        lacking = _lacking_files(store, [one for one in done if one.trial_id in set(skipped)])
        _check_space(store.folder, (_files(other.folder, one).size_bytes for one in (*new, *lacking)))
        for chunk in chunks(new):
            _add(store, chunk, other, merged)
        for record in lacking:
            _complete(store, record, other.folder, merged)
        _copy_suites(other.folder, store.folder, done)
        merged.remarks = sum(_copy_rows(source, store, table) for table in (triage, confirmations))
    return merged


def _same_place(other: ResultsAddress, here: ResultsAddress) -> bool:
    if other.url is not None or here.url is not None:
        return other.url == here.url
    return other.folder.resolve() == here.folder.resolve()


def _checked(record: TrialRecord, other: ResultsAddress) -> TrialRecord:
    """The record, after the same checks as any that comes in: somebody else wrote that database."""
    plain_to_record(record_to_plain(record), other.text)
    return record


def _files(folder: Path, record: TrialRecord) -> _Files:
    telemetry = inside(folder, record.telemetry_file)
    artifacts = inside(folder, record.artifacts_dir)
    return _Files(
        telemetry if telemetry is not None and telemetry.is_file() else None,
        artifacts if artifacts is not None and artifacts.is_dir() else None,
    )


def _check_space(folder: Path, sizes: Iterable[int]) -> None:
    needed, free = sum(sizes), shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(f"{folder}: the files to be copied have {needed} bytes, and {free} are free: make room")


def _add(store: ResultStore, records: Sequence[TrialRecord], other: ResultsAddress, merged: Merged) -> None:
    """The files first, then the rows."""
    rows = []
    for record in records:
        moved = _copy(store, record, other.folder, merged)
        named = (record.telemetry_file is not None, record.artifacts_dir is not None)
        if named != (moved.telemetry_file is not None, moved.artifacts_dir is not None):
            merged.without_files.append(record.trial_id)
        rows.append(with_origin(moved, other.text))
    try:
        with store.writing() as connection:
            insert(connection, rows)
    except IntegrityError as error:
        raise ExchangeError(f"{other.text}: another process added a trial of the same id: merge again") from error
    merged.added += [record.trial_id for record in records]


def _copy(store: ResultStore, record: TrialRecord, folder: Path, merged: Merged) -> TrialRecord:
    """The record with its files here, under the names that they have here."""
    files = _files(folder, record)
    telemetry, artifacts = store.telemetry_path(record.trial_id), store.folder / "artifacts" / record.trial_id
    # both may have one folder: a database that moves to a server beside the files of its runs.db
    if files.telemetry is not None and files.telemetry != telemetry.resolve():
        copy_file(files.telemetry, telemetry)
        merged.copied_bytes += size_of(telemetry)
    if files.artifacts is not None and files.artifacts != artifacts.resolve():
        copy_tree(files.artifacts, artifacts)
        merged.copied_bytes += size_of(artifacts)
    return replace(
        record,
        telemetry_file=None if files.telemetry is None else telemetry.relative_to(store.folder).as_posix(),
        artifacts_dir=None if files.artifacts is None else artifacts.relative_to(store.folder).as_posix(),
    )


def _lacking_files(store: ResultStore, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those that came here by way of a file, and so without their telemetry, of records that have it."""
    lacking: list[TrialRecord] = []
    for chunk in chunks(record for record in records if record.telemetry_file or record.artifacts_dir):
        here = {one.trial_id: one for one in store.trials(trial_id=[record.trial_id for record in chunk])}
        for record in chunk:
            ours = here[record.trial_id]
            came_alone = (ours.telemetry_file, ours.artifacts_dir, ours.files_removed_at) == (None, None, None)
            if ours.origin is not None and came_alone:
                lacking.append(record)
    return lacking


def _complete(store: ResultStore, record: TrialRecord, folder: Path, merged: Merged) -> None:
    moved = _copy(store, record, folder, merged)
    if moved.telemetry_file is None and moved.artifacts_dir is None:
        return
    with store.writing() as connection:
        connection.execute(
            update(trials)
            .where(trials.c.trial_id == record.trial_id)
            .values(telemetry_file=moved.telemetry_file, artifacts_dir=moved.artifacts_dir)
        )
    merged.completed.append(record.trial_id)


def _copy_suites(source: Path, target: Path, records: Iterable[TrialRecord]) -> None:
    """The kept suites of the trials, where there is none of the digest here."""
    for digest in sorted({record.suite_digest for record in records if record.suite_digest is not None}):
        kept = inside(source, f"{SUITES}/{digest}.toml") if SUITE_DIGEST.match(digest) else None
        copy = target / SUITES / f"{digest}.toml"
        if kept is not None and kept.is_file() and not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            copy_file(kept, copy)


def _copy_rows(source: ResultStore, store: ResultStore, table: Table) -> int:
    """Rows that are not here, in their order; ids are each database's own."""
    columns = [column for column in table.c if column.name != "id"]
    with source.reading() as connection:
        theirs = [tuple(row) for row in connection.execute(select(*columns).order_by(table.c.id))]
    with store.writing() as connection:
        ours = {tuple(row) for row in connection.execute(select(*columns))}
        new = [row for row in dict.fromkeys(theirs) if row not in ours]
        names = [column.name for column in columns]
        for row in new:
            connection.execute(table.insert().values(dict(zip(names, row, strict=True))))
    return len(new)

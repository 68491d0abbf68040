"""The files of a trial as a page may name and link them: only what its record claims, and only below the results.

Names come from phones: they are text. A link is made of a path that exists, percent-encoded, and only to kinds of
files that no browser runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.core.record import TrialRecord
from harness.core.text import printable
from harness.store.errors import StoreError

if TYPE_CHECKING:
    from harness.store.database import ResultStore

MAX_FILES = 100
LINKED_SUFFIXES = (".parquet", ".ndjson", ".jsonl", ".json", ".txt", ".log", ".ips", ".synced", ".csv")
"""Others are told and not linked: a page in the artifacts could be made by what was measured."""


@dataclass(frozen=True)
class TelemetryFile:
    """Readings that a page draws; with its size, for a file is written once."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class RawFile:
    name: str
    """Relative to the results folder."""
    size_bytes: int
    href: str | None
    """From the page; None: told in words only."""


def telemetry_file(store: ResultStore, record: TrialRecord) -> TelemetryFile | None:
    """The trial's readings; by its id, for what a row names may lie anywhere. None: there are none."""
    if record.telemetry_file is None:
        return None
    try:
        path = store.telemetry_path(record.trial_id)
    except StoreError:
        # no plain id, and therefore no file of ours
        return None
    if not _is_ours(path, store.folder.resolve()):
        return None
    return TelemetryFile(str(path.resolve()), path.stat().st_size)


def raw_files(store: ResultStore, record: TrialRecord, site: Path, page: str) -> tuple[RawFile, ...]:
    """Telemetry and artifacts, with links from `page` of the folder `site` where that lies in or beside the results."""
    results = store.folder.resolve()
    linked = site.resolve().is_relative_to(results) or site.resolve().parent == results.parent
    begin = (site / page).resolve().parent
    found = []
    for path in islice(_claimed(store, record, results), MAX_FILES):
        href = None
        if linked and path.suffix in LINKED_SUFFIXES:
            href = quote(os.fsencode(os.path.relpath(path, begin)))
        found.append(RawFile(printable(path.relative_to(results).as_posix()), path.stat().st_size, href))
    return tuple(found)


def _claimed(store: ResultStore, record: TrialRecord, results: Path) -> Iterator[Path]:
    if (readings := telemetry_file(store, record)) is not None:
        yield Path(readings.path)
    if record.artifacts_dir is None:
        return
    try:
        folder = store.artifacts_dir(record.trial_id).resolve()
    except (StoreError, OSError):
        return
    # an import may claim another trial's folder
    if (results / record.artifacts_dir).resolve() == folder and folder.is_dir():
        yield from sorted(path for path in folder.rglob("*") if _is_ours(path, results))


def _is_ours(path: Path, results: Path) -> bool:
    """A plain file below the results, and no link out of them."""
    return path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(results)

"""What a results folder holds that no record names, and the files of old trials: found, and removed on demand.

Files of running trials are never touched: a trial's row is there before its first file, and files are listed before
the rows are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from sqlalchemy import select, update

from harness.core.errors import UsageError
from harness.core.record import TrialState
from harness.store.database import ResultStore
from harness.store.exchange.files import remove, size_of
from harness.store.exchange.merge import LOCK_NAME
from harness.store.neighbours import NOTE, other_servers, own_file
from harness.store.owner import exclusive
from harness.store.salvage import BROKEN_SUFFIX
from harness.store.schema import trials
from harness.store.telemetry import PART_SUFFIX, SPOOL_SUFFIX, sync_folder

REPORT_AGE = timedelta(hours=1)
"""A report that is being drawn is younger."""
PICTURES = ("*.svg", "*.png")
PAGE = "index.html"
_CHUNK = 500


class Why(StrEnum):
    NO_RECORD = "no record names it"
    SPENT = "the trial is done and its readings are in Parquet"
    HALF_WRITTEN = "half written"
    BROKEN = "a stream that could not be read"
    OLD_PICTURE = "a picture of a report that was not finished"
    OLD_TRIAL = "of an old trial"


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may go."""

    path: Path
    """Relative to the results folder."""
    why: Why
    size_bytes: int
    trial_id: str | None = None
    """Of a record that names it."""


@dataclass(frozen=True)
class _Named:
    """What the database says of a trial whose id is in a file's name."""

    done: bool
    started_at: str
    files: frozenset[str]
    """Those that the row names, relative to the folder. Text and not resolved: a sub-folder may be a link."""


def find_leftovers(store: ResultStore, older_than: timedelta | None = None) -> list[Leftover]:
    """What may go, by path; with `older_than` also telemetry and artifacts of done trials that began before that.

    Raises UsageError where another server's database may name files of this folder.
    """
    if others := other_servers(store.address):
        raise UsageError(
            f"{store.folder}: files of records in {', '.join(others)} are here too: give that as --results (if it is "
            f"gone for good, take its line out of {store.folder / NOTE})"
        )
    found = [*_in_folder(store, "telemetry"), *_in_folder(store, "artifacts")]
    trial_ids = {_trial_id(path) for path in found}
    named = _rows(store, trial_ids)
    if (beside := own_file(store.address)) is not None:
        with ResultStore.open_existing(beside) as file:
            # what only the file beside names stays, whatever its age: this database has no row to tell of it
            also = _rows(file, trial_ids - set(named))
        found = [path for path in found if _trial_id(path) not in also]
    before = None if older_than is None else (datetime.now(UTC) - older_than).isoformat(timespec="milliseconds")
    leftovers = []
    for path in found:
        trial_id = _trial_id(path)
        why = _why(path, store.folder, named.get(trial_id), before)
        if why is not None:
            owner = trial_id if why is Why.OLD_TRIAL else None
            leftovers.append(Leftover(path.relative_to(store.folder), why, size_of(path), owner))
    leftovers += _old_pictures(store.folder / "report", store.folder)
    return sorted(leftovers, key=lambda one: one.path)


def remove_leftovers(store: ResultStore, older_than: timedelta | None = None) -> list[Leftover]:
    """Removes them and returns what was removed.

    The rows of old trials are told first (`files_removed_at`): what a process that dies in between leaves behind is a
    leftover again, and never a row that names what is gone.
    """
    with exclusive(store.folder / LOCK_NAME):
        leftovers = find_leftovers(store, older_than)
        _tell_rows(store, [one.trial_id for one in leftovers if one.trial_id is not None])
        for one in leftovers:
            remove(store.folder / one.path)
        for folder in sorted({(store.folder / one.path).parent for one in leftovers}):
            if folder.is_dir():
                sync_folder(folder)
    return leftovers


def _in_folder(store: ResultStore, name: str) -> list[Path]:
    folder = store.folder / name
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _trial_id(path: Path) -> str:
    return path.name.partition(".")[0]


def _rows(store: ResultStore, trial_ids: Iterable[str]) -> dict[str, _Named]:
    ids = sorted(trial_ids)
    columns = (trials.c.trial_id, trials.c.state, trials.c.started_at, trials.c.telemetry_file, trials.c.artifacts_dir)
    named = {}
    with store.reading() as connection:
        for start in range(0, len(ids), _CHUNK):
            query = select(*columns).where(trials.c.trial_id.in_(ids[start : start + _CHUNK]))
            for trial_id, state, started_at, *files in connection.execute(query):
                named[trial_id] = _Named(state == TrialState.DONE.value, started_at, frozenset(filter(None, files)))
    return named


def _why(path: Path, folder: Path, named: _Named | None, before: str | None) -> Why | None:
    """Why the file may go; None: it may not."""
    if named is not None and not named.done:
        return None
    if path.name.endswith(PART_SUFFIX):
        return Why.HALF_WRITTEN
    if path.name.endswith(BROKEN_SUFFIX):
        return Why.BROKEN
    if named is None:
        return Why.NO_RECORD
    if path.relative_to(folder).as_posix() in named.files:
        return Why.OLD_TRIAL if before is not None and named.started_at < before else None
    return Why.SPENT if path.name.endswith(SPOOL_SUFFIX) else Why.NO_RECORD


def _old_pictures(report: Path, folder: Path) -> Iterator[Leftover]:
    """A report's page is written last and holds its pictures: one that is newer belongs to none."""
    page = report / PAGE
    drawn_at = page.stat().st_mtime if page.is_file() else 0.0
    latest = (datetime.now(UTC) - REPORT_AGE).timestamp()
    pictures = sorted(path for pattern in PICTURES for path in report.glob(pattern) if path.is_file())
    for path in pictures:
        if drawn_at < path.stat().st_mtime < latest:
            yield Leftover(path.relative_to(folder), Why.OLD_PICTURE, size_of(path))


def _tell_rows(store: ResultStore, trial_ids: Sequence[str]) -> None:
    ids = sorted(set(trial_ids))
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with store.writing() as connection:
        for start in range(0, len(ids), _CHUNK):
            connection.execute(
                update(trials)
                .where(trials.c.trial_id.in_(ids[start : start + _CHUNK]), trials.c.state == TrialState.DONE.value)
                .values(telemetry_file=None, artifacts_dir=None, files_removed_at=now)
            )

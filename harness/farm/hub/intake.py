"""What hosts bring home: files of a trial in chunks, then its record; checked, and put where results are kept.

    <results>/incoming/<trial id>/<sha256>      until the record comes; then telemetry/ and artifacts/<trial id>/

The files are in their places before the row that names them. A hub that is killed in between finds them there when the
host delivers again. Blocking; one call at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from harness.core.errors import HarnessError, UsageError
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord
from harness.core.units import format_bytes
from harness.farm.hub.blobs import Arrivals, remove_old
from harness.farm.trial_files import (
    MAX_FILE_BYTES,
    MAX_PARTS,
    MAX_TRIAL_BYTES,
    MAX_TRIAL_FILES,
    TELEMETRY,
    is_file_name,
)
from harness.farm.turns import only_us
from harness.farm.wire import Chunk, DeliveredFile, Delivery, JobId, Unintelligible
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.exchange.merge import LOCK_NAME as EXCHANGE_LOCK
from harness.store.exchange.records import plain_to_record
from harness.store.telemetry import read_arrays, sync_folder

FOLDER = "incoming"
MAX_INCOMING = 10_000
"""Trials of which files have come and no record: a phone sends one at a time."""
MAX_RECORD_BYTES = 16 * 1024 * 1024
"""As JSON; hundreds of times what a trial's has."""
LEFT_OVER_S = 7 * 86400.0
"""Files whose record did not come for so long are removed."""


@dataclass(frozen=True)
class Delivered:
    """A record that may be kept, and its job."""

    record: TrialRecord
    job: JobId


class Intake:
    """Of one results folder."""

    def __init__(self, store: ResultStore, arrivals: Arrivals) -> None:
        self._store = store
        self._folder = store.folder / FOLDER
        self._arrivals = arrivals

    def add(self, chunk: Chunk) -> int:
        """A part of a trial's file; how many bytes of it are there. Raises UsageError, HarnessError."""
        check_name(chunk.name)
        folder = self._folder / chunk.of
        others = [path for path in _entries(folder) if path.name[:64] != chunk.sha256]
        if sum(map(_size, others)) + chunk.size_bytes > MAX_TRIAL_BYTES:
            raise UsageError(f"trial {chunk.of}: its files have more than {format_bytes(MAX_TRIAL_BYTES)}")
        if len(others) >= MAX_TRIAL_FILES:
            raise UsageError(f"trial {chunk.of}: has more than {MAX_TRIAL_FILES} files")
        if not others and not folder.exists() and len(_entries(self._folder)) >= MAX_INCOMING:
            raise HarnessError(
                f"files of {MAX_INCOMING} trials are here whose records have not come; they go by themselves after "
                f"{LEFT_OVER_S / 86400:g} days, or remove {self._folder}"
            )
        return self._arrivals.add(folder, chunk, MAX_FILE_BYTES)

    def read(self, delivery: Delivery) -> Delivered:
        """The record, checked; nothing is changed. Raises UsageError for what no trial is."""
        if len(json.dumps(delivery.record)) > MAX_RECORD_BYTES:
            raise UsageError(f"record from {delivery.phone}: is longer than {format_bytes(MAX_RECORD_BYTES)}")
        record = plain_to_record(delivery.record, f"record from {delivery.phone}")
        if record.origin is not None or record.files_removed_at is not None:
            raise UsageError(f"trial {record.trial_id}: was not made in a farm: import or merge it")
        virtual = record.device_kind == PhoneKind.VIRTUAL
        if delivery.phone.partition("@")[0] != record.device_udid or ("@" in delivery.phone) != virtual:
            raise UsageError(f"trial {record.trial_id}: is of {record.device_udid}, and comes from {delivery.phone}")
        try:
            job = JobId.read(
                {
                    "run_id": record.run_id,
                    "case": record.case,
                    "ordinal": record.ordinal,
                    "attempt": record.attempt,
                }
            )
        except Unintelligible as error:
            raise UsageError(f"trial {record.trial_id}: is none of a farm: {error}") from None
        return Delivered(record, job)

    def undisturbed(self) -> AbstractAsyncContextManager[None]:
        """From the look at what is missing until the row is there: nobody (`results gc`) removes files meanwhile."""
        return only_us(self._store.folder / EXCHANGE_LOCK)

    def missing(self, trial_id: str, files: tuple[DeliveredFile, ...]) -> tuple[str, ...]:
        """Names of files that are neither on their way nor in their place. Raises UsageError for a wrong name."""
        names = [file.name for file in files]
        if len(set(names)) < len(names):
            raise UsageError(f"trial {trial_id}: names a file twice")
        folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
        if both := folders.intersection(names):
            raise UsageError(f"trial {trial_id}: {min(both)} is named as a file and as a folder")
        return tuple(file.name for file in files if self._where(trial_id, file) is None)

    def named_elsewhere(self, record: TrialRecord) -> TrialRecord:
        """The record of a trial whose files are in the farm's file store: their names are those that results give."""
        trial_id = record.trial_id
        telemetry = self._relative(self._store.telemetry_path(trial_id))
        return replace(
            record,
            telemetry_file=None if record.telemetry_file is None else telemetry,
            artifacts_dir=None if record.artifacts_dir is None else f"artifacts/{trial_id}",
        )

    def keep_files(self, record: TrialRecord, files: tuple[DeliveredFile, ...]) -> TrialRecord:
        """Moves the files to where results have them; the record as it is here.

        Raises UsageError when the telemetry is none, HarnessError when something cannot be written.
        """
        try:
            return self._keep_files(record, files)
        except OSError as error:
            raise HarnessError(f"trial {record.trial_id}: its files cannot be kept: {error.strerror}") from error

    def _keep_files(self, record: TrialRecord, files: tuple[DeliveredFile, ...]) -> TrialRecord:
        trial_id = record.trial_id
        found = {file.name: (self._where(trial_id, file), file) for file in files}
        telemetry = found.pop(TELEMETRY, (None, None))[0]
        if telemetry is not None:
            try:
                read_arrays(telemetry)
            except StoreError as error:
                raise UsageError(f"trial {trial_id}: its telemetry cannot be read: {error}") from None
        artifacts = None
        if found:
            artifacts = self._store.artifacts_dir(trial_id)
            for name, (path, _) in found.items():
                assert path is not None, "asked before what is missing"
                _place(path, artifacts, name)
        if telemetry is not None:
            _link(telemetry, self._store.telemetry_path(trial_id))
            sync_folder(self._store.folder / "telemetry")
        return replace(
            record,
            telemetry_file=None if telemetry is None else self._relative(self._store.telemetry_path(trial_id)),
            artifacts_dir=None if artifacts is None else self._relative(artifacts),
        )

    def done(self, trial_id: str) -> None:
        """The record is kept: what is still on its way is not needed."""
        shutil.rmtree(self._folder / trial_id, ignore_errors=True)

    def tidy(self, now_s: float | None = None) -> list[str]:
        """Removes files whose records never came; ids of the trials. `now_s` is the wall clock's."""
        return remove_old(self._folder, LEFT_OVER_S, now_s)

    def _where(self, trial_id: str, file: DeliveredFile) -> Path | None:
        check_name(file.name)
        arrived = self._folder / trial_id / file.sha256
        if arrived.is_file() and _size(arrived) == file.size_bytes:
            return arrived
        if file.name == TELEMETRY:
            place = self._store.telemetry_path(trial_id)
        else:
            place = self._store.folder / "artifacts" / trial_id / file.name
        return place if _is(place, file) else None

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._store.folder).as_posix()


def check_name(name: str) -> None:
    """Raises UsageError unless it is `telemetry` or a plain relative path."""
    if not is_file_name(name):
        raise UsageError(f"{name[:100]!r} is no name of a trial's file: a relative path of at most {MAX_PARTS} parts")


def _is(path: Path, file: DeliveredFile) -> bool:
    if not path.is_file() or path.is_symlink() or _size(path) != file.size_bytes:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _place(source: Path, root: Path, name: str) -> None:
    """Below `root`, through no link."""
    folder = root
    for part in name.split("/")[:-1]:
        folder = folder / part
        if folder.is_symlink():
            raise HarnessError(f"{folder}: is a link; somebody changed this folder")
        folder.mkdir(exist_ok=True)
    _link(source, root / name)
    sync_folder(folder)


def _link(source: Path, target: Path) -> None:
    """Two files of a trial may be one by their digest, so the source stays until the record is kept."""
    if source == target:
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except PermissionError:
        # a disk without hard links
        shutil.copyfile(source, target, follow_symlinks=False)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0

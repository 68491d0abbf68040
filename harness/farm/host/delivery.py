"""From the spool to the hub: a trial's files in chunks, then its record; again and again until the hub has it.

Whoever finds a record undelivered may send it: the phone's process at once, the host later. A lock for each record
keeps two of them from sending the same files at the same time; what arrives twice is kept once by the hub.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError, UsageError
from harness.core.record import TrialRecord
from harness.core.standing import Kept
from harness.device.lease import HostLock, LockFolder
from harness.farm.host.spool import BATCH, is_delivered, phone_key
from harness.farm.link import HubUnreachable, Link
from harness.farm.trial_files import MAX_FILE_BYTES, MAX_TRIAL_BYTES, MAX_TRIAL_FILES, TELEMETRY, is_file_name
from harness.farm.wire import (
    MAX_CHUNK_BYTES,
    Chunk,
    ChunkAnswer,
    DeliveredFile,
    Delivery,
    DeliveryAnswer,
)
from harness.store.database import ResultStore
from harness.store.deliveries import mark_delivered, undelivered
from harness.store.exchange.records import record_to_plain

LOCKS_FOLDER = ".deliveries"
ASIDE_FOLDER = "set-aside"
CHUNK_LIMIT_S = 120.0
DELIVER_LIMIT_S = 120.0
ROUNDS = 5
"""So often a hub may ask for files again (it lost them meanwhile) before we come back later."""
BUSY_POLL_S = 0.5
MAX_TOLD = 3
"""Files of a trial that a line names, of those that do not go to the hub."""
MAX_REMEMBERED = 1000
"""Lines that are not told twice."""

Tell = Callable[[str], None]


class NotTaken(HarnessError):
    """The hub answered, and did not take the record."""


@dataclass(frozen=True)
class OutgoingFile:
    path: Path
    told: DeliveredFile


class Courier:
    """Brings records of one spool to one hub."""

    def __init__(self, store: ResultStore, link: Link, host: str, tell: Tell, file_store: str = "") -> None:
        """`file_store`: URL where files of trials go; empty: to the hub."""
        self._store = store
        self._file_store = file_store
        self._link = link
        self._host = host
        self._tell = tell
        self._locks = LockFolder(store.folder / LOCKS_FOLDER, private=True)
        self._aside = store.folder / ASIDE_FOLDER
        self._told: set[str] = set()

    async def deliver(self, record: TrialRecord) -> Kept:
        """Until the hub has the record; what it made of it.

        Raises HubUnreachable; NotTaken when it refuses (the record is set aside when it always would).
        """
        lock = await self._locked(record.trial_id)
        try:
            if await asyncio.to_thread(is_delivered, self._store, record.trial_id):
                return Kept.ALREADY
            kept = await self._send(record)
            await asyncio.to_thread(mark_delivered, self._store, record.trial_id, kept.value)
            return kept
        finally:
            lock.release()

    async def sweep(self) -> int:
        """Delivers what is left in the spool; how many records went. Raises HubUnreachable."""
        went = 0
        aside = self._set_aside()
        # of those that are set aside there may be a batch's worth
        for record in await asyncio.to_thread(undelivered, self._store, BATCH + len(aside)):
            if record.trial_id in aside:
                continue
            lock = self._locks.try_take(record.trial_id, "delivery")
            if lock is None:
                # its phone's process is at it
                continue
            lock.release()
            try:
                await self.deliver(record)
                went += 1
            except NotTaken as error:
                self._tell_once(f"trial {record.trial_id} was not taken: {error}")
        return went

    async def _locked(self, trial_id: str) -> HostLock:
        # another process has it, which sets no event of ours
        while (lock := self._locks.try_take(trial_id, "delivery")) is None:  # noqa: ASYNC110
            await asyncio.sleep(BUSY_POLL_S)
        return lock

    async def _send(self, record: TrialRecord) -> Kept:
        files = await asyncio.to_thread(files_of, self._store, record, self._tell_once)
        delivery = Delivery(
            record=record_to_plain(record),
            phone=phone_key(record.device_udid, record.device_kind, self._host),
            files=() if self._file_store else tuple(file.told for file in files),
            elsewhere=bool(self._file_store),
        )
        try:
            if self._file_store:
                await asyncio.to_thread(self._put_elsewhere, record, files)
            for _ in range(ROUNDS):
                answer = await self._link.ask("deliver", delivery, DeliveryAnswer, limit_s=DELIVER_LIMIT_S)
                if not answer.missing:
                    return answer.kept
                for file in files:
                    if file.told.name in answer.missing:
                        await self._send_file(record.trial_id, file)
        except HubUnreachable:
            raise
        except UsageError as error:
            self._put_aside(record.trial_id, str(error))
            raise NotTaken(
                f"{error}. It stays in {self._store.folder} and is not sent again; to try once more remove "
                f"{self._aside / record.trial_id}"
            ) from None
        except HarnessError as error:
            raise NotTaken(f"{error}; it is tried again") from None
        raise NotTaken("the hub keeps asking for files that it was sent; it is tried again")

    def _put_elsewhere(self, record: TrialRecord, files: list[OutgoingFile]) -> None:
        from harness.farm.host.file_store import put

        telemetry = self._store.telemetry_path(record.trial_id).relative_to(self._store.folder).as_posix()
        artifacts = f"artifacts/{record.trial_id}"
        named = (
            (file.path, telemetry if file.told.name == TELEMETRY else f"{artifacts}/{file.told.name}") for file in files
        )
        put(self._file_store, named)

    async def _send_file(self, trial_id: str, file: OutgoingFile) -> None:
        told, offset = file.told, 0
        # one handle all along: the file is ours, and done
        handle = await asyncio.to_thread(file.path.open, "rb")
        try:
            while True:
                data = await asyncio.to_thread(_read_at, handle.fileno(), offset)
                chunk = Chunk(
                    of=trial_id,
                    name=told.name,
                    sha256=told.sha256,
                    size_bytes=told.size_bytes,
                    offset=offset,
                    data=data,
                )
                answer = await self._link.ask("chunk", chunk, ChunkAnswer, limit_s=CHUNK_LIMIT_S)
                if answer.next_offset >= told.size_bytes:
                    return
                if not data and answer.next_offset == offset:
                    raise HarnessError(f"{file.path}: became shorter while it was sent")
                offset = answer.next_offset
        finally:
            handle.close()

    def _put_aside(self, trial_id: str, why: str) -> None:
        self._aside.mkdir(exist_ok=True)
        (self._aside / trial_id).write_text(why + "\n", encoding="utf-8")

    def _set_aside(self) -> frozenset[str]:
        try:
            return frozenset(entry.name for entry in self._aside.iterdir())
        except OSError:
            return frozenset()

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            if len(self._told) >= MAX_REMEMBERED:
                self._told.clear()
            self._told.add(text)
            self._tell(text)


def files_of(store: ResultStore, record: TrialRecord, tell: Tell) -> list[OutgoingFile]:
    """Telemetry and artifacts of a done trial, each with its digest; what the hub would refuse stays here, and is told.

    No link is followed: what the phone's app wrote came here as plain files.
    """
    found: list[OutgoingFile] = []
    if record.telemetry_file is not None and (path := store.telemetry_path(record.trial_id)).is_file():
        found.append(_outgoing(path, TELEMETRY))
    all_bytes = sum(file.told.size_bytes for file in found)
    left: list[str] = []
    root = store.artifacts_dir(record.trial_id)
    for folder, folders, names in os.walk(root):
        # which of too many go is the same each time: what the hub has already is not sent for nothing
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            relative = path.relative_to(root)
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            fits = status.st_size <= MAX_FILE_BYTES and all_bytes + status.st_size <= MAX_TRIAL_BYTES
            if not fits or not is_file_name(relative.as_posix()) or len(found) >= MAX_TRIAL_FILES:
                left.append(f"{relative} ({status.st_size} bytes)")
                continue
            found.append(_outgoing(path, relative.as_posix()))
            all_bytes += status.st_size
    if left:
        more = f" and {len(left) - MAX_TOLD} more" if len(left) > MAX_TOLD else ""
        tell(f"trial {record.trial_id}: {', '.join(left[:MAX_TOLD])}{more} stay on this host, in {root}")
    return found


def _outgoing(path: Path, name: str) -> OutgoingFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return OutgoingFile(path, DeliveredFile(name=name, sha256=digest, size_bytes=size))


def _read_at(descriptor: int, offset: int) -> bytes:
    return os.pread(descriptor, MAX_CHUNK_BYTES, offset)

"""`Container` (harness.device.interface) over AFC, through whatever client library has opened the connection.

Every failure becomes a StepError; one that trying again on a new connection may mend is a `BrokenConnection`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.outcome import Outcome
from harness.device import afc, limits
from harness.device.afc import ABSENT, READ_BYTES, AfcGarbage, AfcRefused, OpenMode, Operation, Status
from harness.device.afc_connection import AfcConnection, Channel
from harness.device.afc_writer import FileWriter, SourceChanged, WriteOptions
from harness.device.errors import REPLUG, BrokenConnection, StepError
from harness.device.interface import FileContents

SPACE_REMEDY = "Free storage on the phone, and run again"
SIZE_KEY = "st_size"
FREE_KEY = "FSFreeBytes"


class AfcContainer:
    """`outcome` is that of a failed write, and of what belongs to writing."""

    def __init__(self, channel: Channel, phone: str, outcome: Outcome = Outcome.PUSH_FAILED) -> None:
        self._connection = AfcConnection(channel)
        self._phone = phone
        self._outcome = outcome

    async def close(self) -> None:
        """Also when it is broken; raises nothing."""
        await self._connection.close()

    async def size(self, path: str) -> int | None:
        with self._step(f"stat {path}"):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return await self._size(path)

    async def names(self, folder: str) -> list[str]:
        with self._step(f"list {folder}"):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                try:
                    body = await self._connection.ask_data(Operation.READ_DIR, afc.path_parameters(folder))
                except AfcRefused as refusal:
                    if refusal.status in ABSENT:
                        return []
                    raise
                return afc.read_names(body)

    async def free_bytes(self) -> int | None:
        with self._step("ask for the free storage"):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                try:
                    body = await self._connection.ask_data(Operation.DEVICE_INFO)
                except AfcRefused:
                    return None
                return afc.read_count(afc.read_dictionary(body), FREE_KEY)

    async def make_folder(self, path: str) -> None:
        with self._step(f"make folder {path}"):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                try:
                    await self._connection.ask(Operation.MAKE_DIR, afc.path_parameters(path))
                except AfcRefused as refusal:
                    if refusal.status != Status.EXISTS:
                        raise

    async def write(
        self,
        path: str,
        source: Path,
        *,
        from_bytes: int = 0,
        progress: Callable[[int], None],
        one_by_one: bool = False,
        odd: Callable[[str], None] = lambda text: None,
    ) -> None:
        with self._step(f"write {path}", limits.TRANSFER_LIMIT_S), source.open("rb", buffering=0) as file:
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                handle = await self._open_at(path, from_bytes)
            options = WriteOptions(one_by_one=one_by_one, stall_limit_s=limits.TRANSFER_LIMIT_S)
            writer = FileWriter(self._connection, handle, file.fileno(), progress=progress, odd=odd, options=options)
            try:
                await writer.write(from_bytes, os.fstat(file.fileno()).st_size)
            except AfcRefused:
                await self._close_quietly(handle)
                raise
            # a disk that was full all along may say so only now
            async with asyncio.timeout(limits.TRANSFER_LIMIT_S):
                await self._connection.close_handle(handle)

    async def write_bytes(self, path: str, data: bytes) -> None:
        with self._step(f"write {path}"):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                handle = await self._connection.open(OpenMode.REPLACE, path)
                try:
                    if data:
                        await self._connection.write(handle, data)
                finally:
                    await self._close_quietly(handle)

    async def rename(self, path: str, to: str) -> None:
        with self._step(f"rename {path}"):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                await self._connection.ask(Operation.RENAME, afc.path_parameters(path, to))

    async def read(self, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
        with self._step(f"read {path}", limits.TRANSFER_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.TRANSFER_LIMIT_S):
                try:
                    return await self._read(path, max_bytes, from_end=from_end)
                except AfcRefused as refusal:
                    if refusal.status in ABSENT:
                        return None
                    raise

    async def remove(self, path: str) -> None:
        with self._step(f"remove {path}", outcome=Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                try:
                    await self._connection.ask(Operation.REMOVE, afc.path_parameters(path))
                except AfcRefused as refusal:
                    if refusal.status not in ABSENT:
                        raise

    # -- in pieces

    async def _size(self, path: str) -> int | None:
        try:
            body = await self._connection.ask_data(Operation.FILE_INFO, afc.path_parameters(path))
        except AfcRefused as refusal:
            if refusal.status in ABSENT:
                return None
            raise
        return afc.read_count(afc.read_dictionary(body), SIZE_KEY)

    async def _open_at(self, path: str, from_bytes: int) -> int:
        if from_bytes == 0:
            return await self._connection.open(OpenMode.REPLACE, path)
        handle = await self._connection.open(OpenMode.UPDATE, path)
        await self._connection.cut(handle, from_bytes)
        return handle

    async def _read(self, path: str, max_bytes: int, *, from_end: bool) -> FileContents | None:
        size = await self._size(path)
        if size is None:
            return None
        handle = await self._connection.open(OpenMode.READ, path)
        try:
            if from_end and size > max_bytes:
                await self._connection.seek(handle, size - max_bytes)
            data = bytearray()
            wanted = min(size, max_bytes)
            while len(data) < wanted:
                piece = await self._connection.read(handle, min(READ_BYTES, wanted - len(data)))
                if not piece:
                    break
                data += piece
        finally:
            await self._close_quietly(handle)
        return FileContents(bytes(data), size)

    async def _close_quietly(self, handle: int) -> None:
        if self._connection.usable:
            with contextlib.suppress(AfcRefused):
                async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                    await self._connection.close_handle(handle)

    @contextmanager
    def _step(self, name: str, limit_s: float | None = None, outcome: Outcome | None = None) -> Iterator[None]:
        """The limit is set where the step is awaited; here it only gets its words."""
        outcome = outcome or self._outcome
        try:
            yield
        except TimeoutError:
            text = f"no answer within {limit_s or limits.SERVICE_LIMIT_S:g} s"
            raise BrokenConnection(name, self._phone, text, REPLUG, outcome) from None
        except ConnectionError as error:
            raise BrokenConnection(name, self._phone, str(error) or "the connection broke", REPLUG, outcome) from error
        except AfcGarbage as error:
            raise BrokenConnection(name, self._phone, str(error), REPLUG, outcome) from error
        except AfcRefused as error:
            remedy = SPACE_REMEDY if error.status == Status.NO_SPACE else ""
            raise StepError(name, self._phone, str(error), remedy, outcome) from error
        except SourceChanged as error:
            text = f"the file changed: {error}"
            raise StepError(name, self._phone, text, "Let it be while it is pushed", outcome) from error
        except OSError as error:
            text = f"the file cannot be read: {error.strerror}"
            raise StepError(name, self._phone, text, "", Outcome.HARNESS_ERROR) from error

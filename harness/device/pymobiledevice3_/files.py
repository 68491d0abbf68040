"""The files of an app, over AFC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from pymobiledevice3.exceptions import AfcFileNotFoundError
from pymobiledevice3.services.afc import AfcService

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.interface import FileContents
from harness.device.pymobiledevice3_.steps import step

# AFC requests of this size were the fastest of those measured (docs/decisions/0003).
CHUNK_BYTES = 4 * 1024 * 1024


class AfcContainer:
    """`Container` over house_arrest."""

    def __init__(self, afc: AfcService, phone: str) -> None:
        self._afc = afc
        self._phone = phone

    async def size(self, path: str) -> int | None:
        with step(f"stat {path}", self._phone, limits.SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                try:
                    return int((await self._afc.stat(path))["st_size"])
                except AfcFileNotFoundError:
                    return None

    async def make_folder(self, path: str) -> None:
        with step(f"make folder {path}", self._phone, limits.SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                await self._afc.makedirs(path)

    async def write(self, path: str, source: Path, progress: Callable[[int], None]) -> None:
        await write_file(self._afc, self._phone, path, source, progress, Outcome.PUSH_FAILED)

    async def rename(self, path: str, to: str) -> None:
        with step(f"rename {path}", self._phone, limits.SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                await self._afc.rename(path, to)

    async def read(self, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
        with step(f"read {path}", self._phone, limits.TRANSFER_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.TRANSFER_LIMIT_S):
                return await read_file(self._afc, path, max_bytes, from_end=from_end)

    async def remove(self, path: str) -> None:
        with step(f"remove {path}", self._phone, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                with contextlib.suppress(AfcFileNotFoundError):
                    await self._afc.rm_single(path)


async def write_file(
    afc: AfcService, phone: str, path: str, source: Path, progress: Callable[[int], None], outcome: Outcome
) -> None:
    """Chunk by chunk, each with its own time limit: a slow push is fine, a stalled one is not."""
    remedy = "Check the phone's free storage and the cable, and run again"
    with step(f"write {path}", phone, limits.TRANSFER_LIMIT_S, outcome, remedy), source.open("rb") as file:
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            handle = await afc.fopen(path, "w")
        try:
            done_bytes = 0
            while chunk := file.read(CHUNK_BYTES):
                async with asyncio.timeout(limits.TRANSFER_LIMIT_S):
                    await afc.fwrite(handle, chunk)
                done_bytes += len(chunk)
                progress(done_bytes)
        finally:
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                await afc.fclose(handle)


async def read_file(afc: AfcService, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
    try:
        size = int((await afc.stat(path))["st_size"])
        handle = await afc.fopen(path, "r")
    except AfcFileNotFoundError:
        return None
    try:
        if from_end and size > max_bytes:
            await afc.fseek(handle, size - max_bytes)
        return FileContents(bytes(await afc.fread(handle, min(size, max_bytes))), size)
    finally:
        await afc.fclose(handle)

"""The crash reports on a phone."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from pymobiledevice3.lockdown import LockdownClient
from pymobiledevice3.services.crash_reports import CrashReportsManager

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.afc_container import AfcContainer
from harness.device.pymobiledevice3_.files import service_files
from harness.device.pymobiledevice3_.steps import step

MAX_REPORT_NAMES = 20_000


class CrashReports:
    """Of one phone."""

    def __init__(self, lockdown: LockdownClient, udid: str) -> None:
        self._lockdown = lockdown
        self._udid = udid

    async def names(self) -> frozenset[str]:
        with step("list crash reports", self._udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                await self._move_reports()
                async with self._files() as files:
                    names = await files.names("/")
        return frozenset(name for name in names[:MAX_REPORT_NAMES] if name.endswith(".ips"))

    async def _move_reports(self) -> None:
        """Asks the phone to put pending reports where they can be read (the library's own `flush` leaks its socket)."""
        service = await self._lockdown.start_lockdown_service(CrashReportsManager.CRASH_MOVER_NAME)
        async with service:
            await service.recvall(len(b"ping\0"))

    async def read(self, name: str, max_bytes: int) -> bytes:
        with step(f"read crash report {name}", self._udid, limits.TRANSFER_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.TRANSFER_LIMIT_S), self._files() as files:
                contents = await files.read(f"/{name}", max_bytes)
        return b"" if contents is None else contents.data

    def _files(self) -> AbstractAsyncContextManager[AfcContainer]:
        return service_files(self._lockdown, self._udid, CrashReportsManager.COPY_MOBILE_NAME, Outcome.HARNESS_ERROR)

"""The phone under examination: what one step has opened or found out, for the steps after it."""

from __future__ import annotations

import contextlib
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from harness.core.errors import HarnessError
from harness.core.phone import DeviceWord, PhoneFacts
from harness.core.telemetry import Reading
from harness.device.doctor.walk import CheckFailed
from harness.device.evidence import TRIALS_FOLDER
from harness.device.interface import PhoneCondition, Transport
from harness.device.lease import Tell
from harness.device.registry import ReservedPhone, reserve_phone
from harness.device.session import PhoneSession
from harness.runner.client import RunnerClient

CLEAN_UP_LIMIT_S = 20.0


class Patient:
    """A context manager: leaving it ends the app, removes the file, closes the phone and lets it go."""

    def __init__(
        self, word: DeviceWord, *, runner: str, transport: str, lease_wait_s: float, tell: Tell, scratch: Path
    ) -> None:
        """`scratch`: a folder on the host for the file that is pushed."""
        self.word = word
        self.runner_choice = runner
        self.transport_choice = transport
        self.scratch = scratch
        self.tell = tell
        self.facts: PhoneFacts | None = None
        self.opened: Transport | None = None
        self.condition = PhoneCondition()
        self.session: PhoneSession | None = None
        self.pushed: str | None = None
        """Path of our file in the app's container."""
        self.pushed_sha256 = ""
        # the app takes each name only once
        self.trial = f"doctor-{secrets.token_hex(4)}"
        self.client: RunnerClient | None = None
        self.columns: list[str] = []
        self.pid: int | None = None
        self.app_footprints: list[int] = []
        """In bytes, while the file was held in memory."""
        self.host_readings: list[Reading] = []
        self.monitor_problem: str | None = None
        self.end_notice: str | None = None
        self.end_notice_s: float | None = None
        self.end_notice_problem: str | None = None
        self._lease_wait_s = lease_wait_s
        self._reserved: ReservedPhone | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(CLEAN_UP_LIMIT_S):
                await self.tidy_up()
            await self._stack.aclose()

    def take(self, reserved: ReservedPhone) -> None:
        """Examines a phone that the caller holds already, and goes on holding."""
        self._reserved = reserved

    async def reserve(self) -> ReservedPhone:
        """The phone, leased. Raises PhoneNotFound, LockBusy, UsageError, StepError."""
        if self._reserved is None:
            reserving = reserve_phone(self.word, lease_wait_s=self._lease_wait_s, tell=self.tell)
            self._reserved = await self._stack.enter_async_context(reserving)
        return self._reserved

    async def open(self) -> Transport:
        """Raises PhoneNotFound, StepError or UsageError."""
        if self.opened is None:
            opened = await (await self.reserve()).open(transport=self.transport_choice, tell=self.tell)
            self._stack.push_async_callback(opened.close)
            self.opened = opened
            self.facts = opened.facts
        return self.opened

    @property
    def transport(self) -> Transport:
        assert self.opened is not None, "a step that uses the phone needs the one that opens it"
        return self.opened

    @property
    def app(self) -> PhoneSession:
        assert self.session is not None, "a step that uses the app needs the one that installs it"
        return self.session

    async def still_there(self) -> bool:
        """Is it attached? A phone that was never opened counts as there: why not is another step's to say."""
        if self.opened is None:
            return True
        try:
            return await self.opened.is_present()
        except HarnessError:
            return False

    async def remove_files(self) -> None:
        """What was pushed, and what the app wrote. Raises StepError, or CheckFailed when it is still there."""
        paths = [f"{TRIALS_FOLDER}/{self.trial}{ending}" for ending in (".ndjson", ".stderr")]
        paths += [self.pushed] if self.pushed is not None else []
        async with self.transport.container(self.app.runner.bundle_id) as container:
            for path in paths:
                await container.remove(path)
                if await container.size(path) is not None:
                    raise CheckFailed(f"{path} is still on the phone after its removal")
        self.pushed = None

    async def tidy_up(self) -> None:
        """Whatever the steps did not come to; a phone that has left keeps it."""
        client, self.client = self.client, None
        if client is not None:
            await client.close()
        pid, self.pid = self.pid, None
        with contextlib.suppress(HarnessError):
            if pid is not None and self.opened is not None:
                await self.opened.kill(pid)
        with contextlib.suppress(HarnessError, CheckFailed):
            if self.opened is not None and self.session is not None:
                await self.remove_files()

"""One phone, ready for trials: the app in place, models pushed once, a runner started and spoken to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.device.errors import StepError
from harness.device.interface import InstalledApp, Progress, Transport
from harness.device.presence import GRACE_S
from harness.device.push import PushedModel, PushOptions, Tell, forget_model, missing_bytes, push_model, tell_nobody
from harness.runner.bundle import BuiltRunner

START_LIMIT_S = 20.0
START_POLL_S = 0.02
# A fresh port for each launch: what answers on it can only be the process just launched.
# The range lies below the ephemeral ports of Linux (32768) and of Apple's systems (49152).
PORT_RANGE = range(20_000, 32_000)


class PhoneSession:
    """Work on one phone; `transport` is open and stays the caller's to close."""

    def __init__(
        self,
        transport: Transport,
        runner: BuiltRunner,
        progress: Progress,
        *,
        tell: Tell = tell_nobody,
        keep: tuple[str, ...] = (),
    ) -> None:
        """`tell` gets what a person should know; `keep` names the models that are never removed from the phone."""
        self.transport = transport
        self.runner = runner
        self._progress = progress
        self._app: InstalledApp | None = None
        self._pushed: dict[str, PushedModel] = {}
        self._tell = tell
        self._keep = keep
        self.pushed_bytes = 0
        """What the pushes of this session have written and the phone has acknowledged."""

    @property
    def facts(self) -> PhoneFacts:
        return self.transport.facts

    @property
    def entitlements(self) -> Mapping[str, Any] | None:
        """Those of the installed app; None before `ensure_app`."""
        return None if self._app is None else self._app.entitlements

    @property
    def process_name(self) -> str | None:
        """Of the app's processes; None before `ensure_app`, or where the phone does not tell."""
        return None if self._app is None else self._app.process

    async def ensure_app(self) -> None:
        """Installs the runner when the phone has none or another build. Raises StepError (install_failed)."""
        if self._app is not None:
            return
        installed = await self.transport.installed_app(self.runner.bundle_id)
        if installed is None or installed.build != self.runner.build:
            await self.transport.install(self.runner.path, self._progress)
            installed = await self.transport.installed_app(self.runner.bundle_id)
        if installed is None or installed.build != self.runner.build:
            found = "no app" if installed is None else f"build {installed.build}"
            text = f"after the install of build {self.runner.build} the phone has {found}"
            raise StepError("install", self.facts.udid, text, "Run again", Outcome.INSTALL_FAILED)
        self._app = installed

    def forget_app(self) -> None:
        """The app's place on the phone may hold another build, and other models, than this session left there."""
        self._app = None
        self._pushed.clear()

    async def ensure_model(self, model: Path, sha256: str, grace_s: float = GRACE_S) -> PushedModel:
        """Pushes the model unless it is on the phone, through cuts if need be; `grace_s`: see `wait_until_present`.

        The least recently used models give way to it, never one of this session. Raises StepError (push_failed, lost).
        """
        if sha256 not in self._pushed:
            options = PushOptions(self._tell, self._keep, frozenset(self._pushed), grace_s, count=self._count)
            self._pushed[sha256] = await push_model(
                self.transport, self.runner.bundle_id, model, sha256, self._progress, options
            )
        return self._pushed[sha256]

    def _count(self, pushed_bytes: int) -> None:
        self.pushed_bytes += pushed_bytes

    async def missing_bytes(self, model: Path, sha256: str, size_bytes: int) -> int:
        """What `ensure_model` would have to push. Raises StepError."""
        if sha256 in self._pushed:
            return 0
        return await missing_bytes(self.transport, self.runner.bundle_id, model.name, sha256, size_bytes)

    async def forget_model(self, sha256: str) -> None:
        """Removes the model from the phone, so that it is pushed anew. Raises StepError."""
        self._pushed.pop(sha256, None)
        await forget_model(self.transport, self.runner.bundle_id, sha256)

    async def start_runner(self) -> tuple[int, int]:
        """Launches the app; gives its pid and the port on which it listens (not yet connected)."""
        port = PORT_RANGE.start + secrets.randbelow(len(PORT_RANGE))
        pid = await self.transport.launch(self.runner.bundle_id, {"RUNNER_PORT": str(port)})
        return pid, port

    async def connect_runner(self, pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Waits until the app listens. Raises StepError (launch_failed) when it ends or stays silent instead."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_LIMIT_S
        while True:
            connection = await self.transport.connect(port)
            if connection is not None:
                return connection
            if not await self.transport.is_running(pid):
                text = f"the runner app (pid {pid}) ended before it listened on port {port}"
                raise StepError("launch", self.facts.udid, text, "Look at its crash report", Outcome.LAUNCH_FAILED)
            if loop.time() >= deadline:
                text = f"the runner app (pid {pid}) did not listen on port {port} within {START_LIMIT_S:g} s"
                remedy = "Is the phone unlocked and the app in front?"
                raise StepError("launch", self.facts.udid, text, remedy, Outcome.LAUNCH_FAILED)
            await asyncio.sleep(START_POLL_S)

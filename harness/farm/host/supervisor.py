"""A process for each phone of a host: started in turn, restarted when it dies or freezes, ended at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from harness.core.text import printable
from harness.farm.host.process_options import EXIT_USAGE, ProcessOptions

STALL_LIMIT_S = 60.0
"""A process that gives no sign of life for so long is killed."""
BACKOFF_S = (1.0, 60.0)
"""Pause before a restart: at first, and at most; twice as long each time."""
STEADY_S = 60.0
"""A process that lived so long was no failure: the next restart is quick again."""
READY_LIMIT_S = 60.0
"""Of a start, that the next one waits for."""
END_LIMIT_S = 120.0
"""From the wish to end now to the kill."""
MAX_LINE_BYTES = 64 * 1024

Tell = Callable[[str], None]


@dataclass
class KeptProcess:
    """A phone that this host keeps a process for."""

    key: str
    options: ProcessOptions
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    phone: str | None = None
    """The farm's name for it, once it has said who it is."""
    label: str = ""
    heard_s: float = 0.0
    starts: int = 0
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    """It shall not be started again."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    failed: str | None = None
    """Why it is not started again."""

    @property
    def name(self) -> str:
        return self.phone or self.key


class Supervisor:
    """Of one host. `tell` takes lines for its owner."""

    def __init__(self, tell: Tell, *, stall_limit_s: float = STALL_LIMIT_S) -> None:
        self._tell = tell
        self._stall_limit_s = stall_limit_s
        self._kept: dict[str, KeptProcess] = {}
        # each start imports a second's worth of libraries
        self._starting = asyncio.Semaphore(max(1, os.cpu_count() or 1))
        self._ending = False

    @property
    def phones(self) -> list[KeptProcess]:
        """All that are kept, by key."""
        return [self._kept[key] for key in sorted(self._kept)]

    def keep(self, key: str, options: ProcessOptions) -> None:
        """Starts a process for a phone, unless it has one."""
        if self._ending or key in self._kept:
            return
        kept = self._kept[key] = KeptProcess(key, options)
        kept.task = asyncio.create_task(self._keep(kept))

    def say(self, key: str, what: dict[str, Any]) -> None:
        """A line to a phone's process."""
        kept = self._kept.get(key)
        if kept is not None and kept.process is not None and kept.process.stdin is not None:
            with suppress(OSError, RuntimeError):
                kept.process.stdin.write(json.dumps(what).encode() + b"\n")

    async def drop(self, key: str) -> None:
        """Its process finishes what is under way, and is not started again."""
        kept = self._kept.get(key)
        if kept is not None and kept.task is not None:
            kept.leave.set()
            _signal(kept, signal.SIGTERM)
            await asyncio.wait([kept.task])
            self._kept.pop(key, None)

    async def drain(self) -> None:
        """All finish what is under way, and end."""
        self._ending = True
        for kept in self._kept.values():
            kept.leave.set()
            _signal(kept, signal.SIGTERM)
        await self._ended()

    async def end(self) -> None:
        """All end now; the apps on the phones are ended, and what was recorded is kept. The slow ones are killed."""
        self._ending = True
        for kept in self._kept.values():
            kept.leave.set()
            if kept.process is not None and kept.process.stdin is not None:
                # the end of its input is the word for it
                kept.process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT_S):
                await self._ended()
        for kept in self._kept.values():
            _signal(kept, signal.SIGKILL)
        await self._ended()

    async def _ended(self) -> None:
        tasks = [kept.task for kept in self._kept.values() if kept.task is not None]
        if tasks:
            # not `gather`: who gives up waiting must not take the processes with him
            await asyncio.wait(tasks)

    async def _keep(self, kept: KeptProcess) -> None:
        pause_s = BACKOFF_S[0]
        while True:
            began_s = time.monotonic()
            code = await self._life(kept)
            if kept.leave.is_set():
                return
            if code == EXIT_USAGE:
                kept.failed = kept.failed or "it cannot be started"
                self._tell(f"{kept.name}: {kept.failed}; it is not started again")
                return
            if time.monotonic() - began_s >= STEADY_S:
                pause_s = BACKOFF_S[0]
            why = f": {kept.failed}" if kept.failed else ""
            self._tell(f"{kept.name}: its process ended ({_ended_how(code)}){why}; started again in {pause_s:g} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await kept.leave.wait()
                    return
            pause_s = min(pause_s * 2, BACKOFF_S[1])

    async def _life(self, kept: KeptProcess) -> int:
        """From a start to the end of the process; its exit code."""
        kept.ready.clear()
        kept.failed = None
        async with self._starting:
            if kept.leave.is_set():
                return 0
            process = kept.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "harness.farm.host.phone_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
                # Ctrl-C is for the host, which asks its processes
                start_new_session=True,
            )
            kept.starts += 1
            kept.heard_s = time.monotonic()
            assert process.stdin is not None
            process.stdin.write(json.dumps(kept.options.plain()).encode() + b"\n")
            listening = asyncio.create_task(self._listen(kept, process))
            with suppress(TimeoutError):
                async with asyncio.timeout(READY_LIMIT_S):
                    await kept.ready.wait()
        try:
            await listening
            return await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            kept.process = None

    async def _listen(self, kept: KeptProcess, process: asyncio.subprocess.Process) -> None:
        """Until its output ends; kills it when it falls silent."""
        assert process.stdout is not None
        while True:
            try:
                async with asyncio.timeout(self._stall_limit_s):
                    line = await process.stdout.readline()
            except TimeoutError:
                self._tell(f"{kept.name}: no sign of life for {self._stall_limit_s:g} s; its process is killed")
                process.kill()
                break
            except ValueError:
                # a line beyond all bounds
                continue
            if not line:
                break
            kept.heard_s = time.monotonic()
            self._hear(kept, line)
        kept.ready.set()

    def _hear(self, kept: KeptProcess, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        if isinstance(said.get("tell"), str):
            self._tell(f"{kept.name}: {printable(said['tell'])}")
        if isinstance(said.get("failed"), str):
            kept.failed = printable(said["failed"])
        if isinstance(said.get("phone"), str):
            kept.phone, kept.label = said["phone"], str(said.get("label", ""))
            self._tell(f"{kept.name}: {printable(kept.label)} is there")
            kept.ready.set()


def _signal(kept: KeptProcess, number: signal.Signals) -> None:
    if kept.process is not None and kept.process.returncode is None:
        with suppress(ProcessLookupError):
            kept.process.send_signal(number)


def _ended_how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"

"""One running app: the child process, its pipes, its watch, and its end.

The end is noticed through a pidfd, so the time stamp is that of the event loop waking up, with no polling in between.
Everything here runs in one event loop except the watch's own thread.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.virtual import spawn
from harness.virtual.memory import FootprintWatch

if TYPE_CHECKING:
    from harness.virtual.memory import JetsamDecision, MemoryWarning
    from harness.virtual.state import MemoryLimits

OUTPUT_READ_BYTES = 64 * 1024
# How much an app may still have in its pipe when it dies; a Linux pipe holds at most 1 MiB by default.
DRAIN_LIMIT_BYTES = 1024 * 1024
ERROR_TAIL_BYTES = 16 * 1024
EXEC_LIMIT_S = 15.0
STATUS_LIMIT_BYTES = 4096


class SpawnFailed(Exception):
    """The executable could not be started; the message is the system's."""


@dataclass(frozen=True)
class ProcessInfo:
    """One row of the phone's process list; `bundle_id` is None for system processes."""

    pid: int
    name: str
    device_path: str
    bundle_id: str | None
    started_at: datetime


@dataclass(frozen=True)
class ProcessOutput:
    """What an app wrote to standard output or standard error; pieces come as they were written.

    `text` is empty while `data` holds only the beginning of a character.
    """

    pid: int
    text: str
    data: bytes = b""
    is_error: bool = False


@dataclass(frozen=True)
class ProcessEnded:
    """An app is gone: exactly one of `exit_code` and `signal` is set."""

    pid: int
    exit_code: int | None
    signal: int | None


class AppProcess:
    """A child that has become the app. Made by `spawn`; `close` after `wait`."""

    def __init__(self, child: subprocess.Popen[bytes], pidfd: int, start_ns: int, watch: FootprintWatch) -> None:
        self._child = child
        self._pidfd = pidfd
        self._watch = watch
        self._exited = asyncio.Event()
        self._error_tail = b""
        self.pid = child.pid
        self.start_ns = start_ns
        self.ended_ns = 0
        self.published = asyncio.Event()

    @classmethod
    async def spawn(
        cls,
        *,
        executable: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        container: Path,
        limits: MemoryLimits,
        on_output: Callable[[ProcessOutput], None],
        on_warning: Callable[[int, MemoryWarning], None],
    ) -> AppProcess:
        """Starts `executable` in `container` under both limits; SpawnFailed when it does not run.

        Both callbacks are called in the event loop; `on_warning`, with the pid, before `wait` returns.
        Returns once the trampoline has become the app, so no reading ever shows the trampoline's own memory.
        """
        start_ns = time.monotonic_ns()
        status_read, status_write = os.pipe()
        command = [sys.executable, "-I", "-S", spawn.__file__, str(os.getpid()), str(status_write)]
        command.append(str(limits.allocation_bytes))
        try:
            # Popen in the loop's own thread: PR_SET_PDEATHSIG follows the thread that forked, and that one must last
            child = subprocess.Popen(  # noqa: ASYNC220  # see above
                [*command, str(executable), *arguments],
                cwd=container,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(status_write,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(status_read)
            raise SpawnFailed(str(error)) from error
        finally:
            os.close(status_write)
        try:
            await _wait_for_exec(status_read)
            pidfd = os.pidfd_open(child.pid)
            loop = asyncio.get_running_loop()

            def warn(warning: MemoryWarning) -> None:
                loop.call_soon_threadsafe(on_warning, child.pid, warning)

            watch = FootprintWatch(child.pid, pidfd, container, limits.footprint_bytes, warn)
            process = cls(child, pidfd, start_ns, watch)
        except BaseException as error:
            _discard(child)
            if isinstance(error, OSError):
                raise SpawnFailed(str(error)) from error
            raise
        process._begin(on_output)
        return process

    @property
    def jetsam(self) -> JetsamDecision | None:
        """Set when the watch killed the app; final once `wait` has returned."""
        return self._watch.jetsam

    @property
    def peak_footprint_bytes(self) -> int:
        """The largest footprint the watch has seen."""
        return self._watch.peak_footprint_bytes

    @property
    def readings(self) -> int:
        """How often the watch has looked."""
        return self._watch.readings

    def kill(self, number: int) -> None:
        """Sends a signal; nothing happens when the app is already gone."""
        if not self._exited.is_set():
            signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> ProcessEnded:
        """The end, after the app has been reaped and its last output passed on."""
        await self._exited.wait()
        await asyncio.to_thread(self._watch.stop)
        for pipe in (self._child.stdout, self._child.stderr):
            assert pipe is not None
            self._drain(pipe.fileno())
        # Whatever the app has forked goes with it: a real app could not have forked at all. Before the reaping, because
        # until then the group's number is surely this app's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._child.wait()
        if code < 0:
            return ProcessEnded(self.pid, None, -code)
        return ProcessEnded(self.pid, code, None)

    def error_tail(self) -> str:
        """The last bytes of standard error: of the file it was redirected to, else of the pipe."""
        tail = self._error_tail
        if self._watch.stderr_fd is not None:
            size = os.fstat(self._watch.stderr_fd).st_size
            tail = os.pread(self._watch.stderr_fd, ERROR_TAIL_BYTES, max(0, size - ERROR_TAIL_BYTES)) or tail
        return tail.decode("utf-8", "replace")

    @property
    def stderr_changed_ns(self) -> int | None:
        """When the file that standard error was redirected to was last written, on the monotonic clock.

        The kernel stamps files with the time of its last tick, so this is up to a few milliseconds early.
        """
        if self._watch.stderr_fd is None:
            return None
        return os.fstat(self._watch.stderr_fd).st_mtime_ns - time.time_ns() + time.monotonic_ns()

    def close(self) -> None:
        """Gives descriptors back."""
        self._watch.close()
        os.close(self._pidfd)
        for pipe in (self._child.stdout, self._child.stderr):
            assert pipe is not None
            pipe.close()

    def _begin(self, on_output: Callable[[ProcessOutput], None]) -> None:
        loop = asyncio.get_running_loop()
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._on_output = on_output
        self._decoders = {
            pipe.fileno(): codecs.getincrementaldecoder("utf-8")("replace")
            for pipe in (self._child.stdout, self._child.stderr)
        }
        for descriptor in self._decoders:
            os.set_blocking(descriptor, False)
            loop.add_reader(descriptor, self._read, descriptor)
        loop.add_reader(self._pidfd, self._notice_end)
        self._watch.start()

    def _notice_end(self) -> None:
        self.ended_ns = time.monotonic_ns()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._exited.set()

    def _read(self, descriptor: int) -> int:
        """Passes on what is in the pipe; returns how many bytes that was."""
        try:
            data = os.read(descriptor, OUTPUT_READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
        is_error = self._child.stderr is not None and descriptor == self._child.stderr.fileno()
        if is_error:
            self._error_tail = (self._error_tail + data)[-ERROR_TAIL_BYTES:]
        text = self._decoders[descriptor].decode(data, final=not data)
        if text or data:
            self._on_output(ProcessOutput(self.pid, text, data, is_error))
        return len(data)

    def _drain(self, descriptor: int) -> None:
        """The rest of a dead app's pipe. Bounded: a child it left behind may hold the other end and go on writing."""
        asyncio.get_running_loop().remove_reader(descriptor)
        left = DRAIN_LIMIT_BYTES
        while left > 0 and (size := self._read(descriptor)):
            left -= size


async def _wait_for_exec(status_read: int) -> None:
    """Waits until the status pipe closes; raises SpawnFailed with what the trampoline wrote into it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(status_read, "rb", buffering=0)
    )
    try:
        message = await asyncio.wait_for(reader.read(STATUS_LIMIT_BYTES), EXEC_LIMIT_S)
    except TimeoutError:
        raise SpawnFailed(f"it was not running after {EXEC_LIMIT_S:.0f} s") from None
    finally:
        transport.close()
    if message:
        raise SpawnFailed(message.decode("utf-8", "replace"))


def _discard(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdout, child.stderr):
        assert pipe is not None
        pipe.close()

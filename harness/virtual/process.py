"""The phone's process table: launches apps, kills them, notices how they end, and tells whoever asked.

A pid is the real pid of this machine. Knows the app store and the report writer, no protocol.
The truth log `log/processes.ndjson` in the phone's home is for tests: no service reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal as signals
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.virtual import reports
from harness.virtual.app_process import AppProcess, ProcessEnded, ProcessInfo, ProcessOutput, SpawnFailed
from harness.virtual.events import AppEnded, AppLaunched, Events, MemoryWarned
from harness.virtual.memory import MemoryReading, MemoryWarning, cpu_time_ns, read_memory
from harness.virtual.ports import app_listens
from harness.virtual.state import Trust

if TYPE_CHECKING:
    from harness.virtual.apps import AppStore, InstalledApp
    from harness.virtual.state import MemoryLimits, PhoneState

__all__ = [
    "LaunchRefused",
    "MemoryReading",
    "NoSuchProcess",
    "ProcessEnded",
    "ProcessInfo",
    "ProcessOutput",
    "ProcessTable",
]

ARGUMENTS_LIMIT_BYTES = 256 * 1024
END_LIMIT_S = 10.0
# A few daemons every iPhone lists; their pids are low so that they do not meet those of this machine's new processes.
SYSTEM_PROCESSES: tuple[tuple[int, str, str], ...] = (
    (0, "kernel_task", "/System/Library/Caches/com.apple.kernelcaches/kernelcache"),
    (1, "launchd", "/sbin/launchd"),
    (27, "logd", "/usr/libexec/logd"),
    (34, "SpringBoard", "/System/Library/CoreServices/SpringBoard.app/SpringBoard"),
    (52, "backboardd", "/usr/libexec/backboardd"),
    (61, "lockdownd", "/usr/libexec/lockdownd"),
    (95, "remoted", "/usr/libexec/remoted"),
)
# of a process that is in no list because it is gone; far from those of this machine's new processes
OTHER_PROCESS_PID = 88
PATH_ON_PHONE = "/usr/local/bin:/usr/bin:/bin"
CRASH_SIGNALS = frozenset(
    {signals.SIGABRT, signals.SIGSEGV, signals.SIGBUS, signals.SIGILL, signals.SIGTRAP, signals.SIGFPE}
)


class LaunchRefused(Exception):
    """The app cannot be started; the message says why."""


class NoSuchProcess(Exception):
    """No app process of this phone has that pid."""


class ProcessTable:
    """All processes of one phone. Lives in one event loop; every method is called from it."""

    def __init__(self, state: PhoneState, apps: AppStore, events: Events | None = None) -> None:
        self._state = state
        self._events = events or Events()
        self._apps = apps
        self._booted_at = state.now()
        self._running: dict[int, tuple[AppProcess, ProcessInfo]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._callbacks: list[Callable[[ProcessOutput | ProcessEnded], None]] = []
        self._memory_warnings: dict[int, int] = {}
        self._launching = asyncio.Lock()
        self._log = Path(state.home) / "log" / "processes.ndjson"
        self._log.parent.mkdir(parents=True, exist_ok=True)

    async def launch(
        self,
        bundle_id: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        kill_existing: bool,
    ) -> int:
        """Starts the app and returns its pid; LaunchRefused when the phone would not.

        An app runs once: when it already does, it is killed first (`kill_existing`) or its pid is returned.
        """
        app = self._apps.get(bundle_id)
        if app is None or app.executable is None:
            raise LaunchRefused(f"no app {bundle_id!r} with an executable is installed on this phone")
        if self._state.trust is Trust.LOCKED:
            raise LaunchRefused(f"cannot open {bundle_id!r}: the phone is locked")
        _check_words(arguments, environment)
        async with self._launching:
            for process, info in list(self._running.values()):
                if info.bundle_id != bundle_id:
                    continue
                if not kill_existing:
                    return info.pid
                process.kill(signals.SIGKILL)
                try:
                    await asyncio.wait_for(process.published.wait(), END_LIMIT_S)
                except TimeoutError:
                    raise LaunchRefused(f"{bundle_id} (pid {info.pid}) does not end though killed") from None
            return await self._start(app, arguments, environment)

    def kill(self, pid: int, signal: int) -> None:
        """Sends `signal` to an app process; NoSuchProcess for any other pid."""
        entry = self._running.get(pid)
        if entry is None:
            raise NoSuchProcess(f"no app process has pid {pid}")
        entry[0].kill(signal)

    async def kill_bundle(self, bundle_id: str) -> None:
        """Kills the app if it runs and waits until its end has been published (an upgrade or removal does this)."""
        for process, info in list(self._running.values()):
            if info.bundle_id == bundle_id:
                process.kill(signals.SIGKILL)
                await asyncio.wait_for(process.published.wait(), END_LIMIT_S)

    def listing(self) -> list[ProcessInfo]:
        """Every process, by pid."""
        rows = {pid: ProcessInfo(pid, name, path, None, self._booted_at) for pid, name, path in SYSTEM_PROCESSES}
        rows.update({pid: info for pid, (_, info) in self._running.items()})
        return [rows[pid] for pid in sorted(rows)]

    def is_running(self, pid: int) -> bool:
        """Whether `pid` is in the list."""
        return pid in self._running or any(pid == row[0] for row in SYSTEM_PROCESSES)

    def reading(self, pid: int) -> MemoryReading | None:
        """What the app uses now; None for system processes and for those that are gone."""
        return read_memory(pid) if pid in self._running else None

    def cpu_times(self) -> dict[int, int]:
        """The CPU time of every running app in ns, by pid."""
        times = {pid: cpu_time_ns(pid) for pid in self._running}
        return {pid: time_ns for pid, time_ns in times.items() if time_ns is not None}

    def jetsam_other(self, name: str) -> Path:
        """Reports that another process than any of the apps was killed for memory; returns the report's file.

        A daemon of the list comes back at once under its old pid, as launchd sees to it; nothing else happens.
        """
        bystanders = [(info, self.reading(info.pid)) for _, info in self._running.values()]
        known = {row.name: row for row in self.listing() if row.bundle_id is None}
        victim = known.get(name) or ProcessInfo(OTHER_PROCESS_PID, name, f"/usr/libexec/{name}", None, self._booted_at)
        return reports.write_jetsam_of_other(self._state, victim, bystanders)

    async def restart(self) -> None:
        """What a reboot does to processes: every app dies without a report, and everything has been started anew."""
        for process, _ in list(self._running.values()):
            process.kill(signals.SIGKILL)
            await asyncio.wait_for(process.published.wait(), END_LIMIT_S)
        self._booted_at = self._state.now()

    def subscribe(self, callback: Callable[[ProcessOutput | ProcessEnded], None]) -> Callable[[], None]:
        """Calls `callback` for all output and every end; returns the function that stops that."""
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    def listener(self, port: int) -> bool:
        """Whether an app of this phone listens on 127.0.0.1:`port`."""
        return app_listens(self._running, port)

    async def close(self) -> None:
        """Kills every app and waits for its end."""
        for process, _ in list(self._running.values()):
            process.kill(signals.SIGKILL)
        if self._ending:
            await asyncio.wait(self._ending, timeout=END_LIMIT_S)

    async def _start(self, app: InstalledApp, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        assert app.executable is not None
        app.make_container()
        started_at = self._state.now()
        limits = self._state.limits_for(app.entitlements)
        try:
            process = await AppProcess.spawn(
                executable=app.executable,
                arguments=arguments,
                environment=self._environment(app, environment, limits),
                container=app.container,
                limits=limits,
                on_output=self._publish,
                on_warning=lambda pid, warning: self._note_warning(pid, app.bundle_id, warning),
            )
        except SpawnFailed as error:
            raise LaunchRefused(f"{app.bundle_id} did not start: {error}") from error
        info = ProcessInfo(process.pid, app.executable_name, app.device_executable, app.bundle_id, started_at)
        self._running[process.pid] = (process, info)
        self._write_truth({"event": "start", "pid": info.pid, "bundle_id": app.bundle_id, "start_ns": process.start_ns})
        task = asyncio.get_running_loop().create_task(self._see_to_the_end(process, info, app))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._events.emit(AppLaunched(process.pid, app.bundle_id))
        return process.pid

    def _environment(self, app: InstalledApp, asked: Mapping[str, str], limits: MemoryLimits) -> dict[str, str]:
        state = self._state
        return {
            "PATH": PATH_ON_PHONE,
            "LANG": "en_US.UTF-8",
            **asked,
            "HOME": str(app.container),
            "TMPDIR": str(app.container / "tmp"),
            "VIRTUAL_IPHONE": "1",
            "VIRTUAL_FOOTPRINT_LIMIT_BYTES": str(limits.footprint_bytes),
            "VIRTUAL_HW_MACHINE": state.product_type,
            "VIRTUAL_OS_BUILD": state.os_build,
            "VIRTUAL_RAM_BYTES": str(state.ram_bytes),
            "VIRTUAL_SYSTEM_STATE": str(state.system_state_file),
            **({"VIRTUAL_GPU": "emulated"} if state.gpu_emulated else {}),
        }

    def _note_warning(self, pid: int, bundle_id: str, warning: MemoryWarning) -> None:
        self._memory_warnings[pid] = self._memory_warnings.get(pid, 0) + 1
        self._write_truth(
            {
                "event": "memory_warning",
                "pid": pid,
                "bundle_id": bundle_id,
                "warned_ns": warning.at_ns,
                "warned_footprint_bytes": warning.footprint_bytes,
                "told": warning.told,
            }
        )
        self._events.emit(MemoryWarned(pid))

    async def _see_to_the_end(self, process: AppProcess, info: ProcessInfo, app: InstalledApp) -> None:
        """Waits for the end, writes what the phone would write about it, and only then publishes it."""
        end = await process.wait()
        del self._running[info.pid]
        try:
            if process.jetsam is not None and end.signal == signals.SIGKILL:
                reports.write_jetsam_event(self._state, info, process.jetsam)
            elif end.signal in CRASH_SIGNALS:
                reports.write_crash_report(self._state, info, app, end.signal, process.error_tail())
            self._write_truth(
                {
                    "event": "end",
                    "pid": info.pid,
                    "bundle_id": app.bundle_id,
                    "start_ns": process.start_ns,
                    "decided_ns": process.jetsam.decided_ns if process.jetsam else None,
                    "stderr_changed_ns": process.stderr_changed_ns,
                    "observed_ns": process.ended_ns,
                    "signal": end.signal,
                    "exit_code": end.exit_code,
                    "peak_footprint_bytes": process.peak_footprint_bytes,
                    "readings": process.readings,
                    "memory_warnings": self._memory_warnings.pop(info.pid, 0),
                }
            )
        finally:
            process.close()
            self._publish(end)
            self._events.emit(AppEnded(info.pid, app.bundle_id))
            process.published.set()

    def _publish(self, event: ProcessOutput | ProcessEnded) -> None:
        for callback in list(self._callbacks):
            callback(event)

    def _write_truth(self, entry: Mapping[str, object]) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


def _check_words(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuses what execve would not take, before anything is started."""
    words = [*arguments, *environment.keys(), *environment.values()]
    if any("\0" in word for word in words):
        raise LaunchRefused("an argument or an environment variable holds a NUL byte")
    if any(not name or "=" in name for name in environment):
        raise LaunchRefused("an environment variable has an empty name or one with '='")
    if sum(len(word.encode("utf-8", "surrogateescape")) + 1 for word in words) > ARGUMENTS_LIMIT_BYTES:
        raise LaunchRefused(f"arguments and environment exceed {ARGUMENTS_LIMIT_BYTES} bytes")

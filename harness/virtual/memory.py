"""Reads an app's memory from /proc, warns it near its footprint limit and kills it beyond, as jetsam would.

The footprint here is RssAnon + VmSwap + VmPTE: like Apple's phys_footprint it counts dirty and compressed (swapped)
pages and page tables, and leaves clean file-backed pages out, so a memory-mapped model costs little in both.
What it does not have is iokit_mapped: there is no GPU.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Measured on two cores: some 300 readings a second on an idle phone, above 200 while a transfer keeps it busy.
WATCH_INTERVAL_S = 0.0025
# Standard error may be redirected at any time; looking every third reading costs little and misses little.
STDERR_LOOK_EVERY = 3
STATUS_LIMIT_BYTES = 8192
# The kernel warns that far under the limit, but never under that share of it (xnu).
WARNING_DISTANCE_BYTES = 100 * 1024 * 1024
WARNING_LEAST_PERCENT = 80
WARNING_SIGNAL = signal.SIGUSR1
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class MemoryReading:
    """One reading. All `_bytes` are bytes, `cpu_ns` is user + system time since the start."""

    footprint_bytes: int
    resident_bytes: int
    anonymous_bytes: int
    virtual_bytes: int
    cpu_ns: int
    threads: int


@dataclass(frozen=True)
class JetsamDecision:
    """Why and when the watch killed: CLOCK_MONOTONIC ns and the footprints seen."""

    decided_ns: int
    footprint_bytes: int
    peak_footprint_bytes: int
    resident_bytes: int
    cpu_ns: int


@dataclass(frozen=True)
class MemoryWarning:
    """The footprint has come near the limit. `told`: the app catches the signal that says so, and was sent it."""

    at_ns: int
    footprint_bytes: int
    told: bool


def warning_level_bytes(limit_bytes: int) -> int:
    """The footprint from which an app with this limit is warned."""
    return max(limit_bytes - WARNING_DISTANCE_BYTES, limit_bytes * WARNING_LEAST_PERCENT // 100)


def catches(status: bytes, number: int) -> bool:
    """Whether the process of this /proc/<pid>/status has a handler for the signal: SigCgt is a mask in hex."""
    for line in status.splitlines():
        if line.startswith(b"SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def read_memory(pid: int) -> MemoryReading | None:
    """The memory of `pid` now; None when it is gone or a zombie."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
        cpu_ns = _cpu_ns(Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_status(status, cpu_ns)


def cpu_time_ns(pid: int) -> int | None:
    """User + system time of `pid` since its start; None when it is gone."""
    try:
        return _cpu_ns(Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None


def parse_status(status: bytes, cpu_ns: int) -> MemoryReading | None:
    """A reading from the text of /proc/<pid>/status; None when it has no memory any more."""
    fields: dict[bytes, int] = {}
    for line in status.splitlines():
        name, _, value = line.partition(b":")
        if name.startswith((b"Vm", b"Rss", b"Threads")):
            fields[name] = int(value.split()[0])
    if b"RssAnon" not in fields:
        return None
    return MemoryReading(
        footprint_bytes=(fields[b"RssAnon"] + fields[b"VmSwap"] + fields[b"VmPTE"]) * 1024,
        resident_bytes=fields[b"VmRSS"] * 1024,
        anonymous_bytes=fields[b"RssAnon"] * 1024,
        virtual_bytes=fields[b"VmSize"] * 1024,
        cpu_ns=cpu_ns,
        threads=fields[b"Threads"],
    )


def _cpu_ns(stat: bytes) -> int:
    """User + system time from /proc/<pid>/stat; the name in brackets may hold anything, so count from its end."""
    after_name = stat.rpartition(b")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * _TICK_NS


class FootprintWatch:
    """A thread that reads one app at more than 200 Hz, warns it near and kills it over the limit.

    It also follows the app's standard error. `on_warning` is called from the thread, once for each time the footprint
    comes up to the warning level. Only an app that catches SIGUSR1 is sent it: any other would die of it.

    Works on descriptors opened while the process certainly lived (`pidfd`, /proc/<pid>/status), so a reused pid can
    neither be read nor killed.
    """

    def __init__(
        self,
        pid: int,
        pidfd: int,
        container: Path,
        limit_bytes: int,
        on_warning: Callable[[MemoryWarning], None] = lambda warning: None,
    ) -> None:
        self._pid = pid
        self._pidfd = pidfd
        self._container = container.resolve()
        self._limit_bytes = limit_bytes
        self._warning_bytes = warning_level_bytes(limit_bytes)
        self._warned = False
        self._on_warning = on_warning
        self._status_fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"footprint-{pid}", daemon=True)
        self.peak_footprint_bytes = 0
        self.readings = 0
        self.jetsam: JetsamDecision | None = None
        self.stderr_fd: int | None = None
        self._stderr_target = ""

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread (within one interval) and keeps what it saw."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """Gives the descriptors back; only after `stop`."""
        os.close(self._status_fd)
        if self.stderr_fd is not None:
            os.close(self.stderr_fd)
            self.stderr_fd = None

    def _run(self) -> None:
        while not self._stop.wait(WATCH_INTERVAL_S):
            try:
                status = os.pread(self._status_fd, STATUS_LIMIT_BYTES, 0)
                reading = parse_status(status, 0)
            except ProcessLookupError:
                return
            if reading is None:
                return
            self.peak_footprint_bytes = max(self.peak_footprint_bytes, reading.footprint_bytes)
            if reading.footprint_bytes > self._limit_bytes:
                self._kill(reading)
                return
            if reading.footprint_bytes < self._warning_bytes:
                self._warned = False
            elif not self._warned:
                self._warned = True
                self._warn(reading, status)
            if self.readings % STDERR_LOOK_EVERY == 0:
                self._follow_stderr()
            self.readings += 1

    def _warn(self, reading: MemoryReading, status: bytes) -> None:
        told = catches(status, WARNING_SIGNAL)
        at_ns = time.monotonic_ns()
        if told:
            try:
                signal.pidfd_send_signal(self._pidfd, WARNING_SIGNAL)
            except ProcessLookupError:
                return
        self._on_warning(MemoryWarning(at_ns, reading.footprint_bytes, told))

    def _kill(self, reading: MemoryReading) -> None:
        decided_ns = time.monotonic_ns()
        full = read_memory(self._pid)
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.jetsam = JetsamDecision(
            decided_ns=decided_ns,
            footprint_bytes=reading.footprint_bytes,
            peak_footprint_bytes=self.peak_footprint_bytes,
            resident_bytes=reading.resident_bytes,
            cpu_ns=full.cpu_ns if full else 0,
        )

    def _follow_stderr(self) -> None:
        """Keeps a descriptor of the file that descriptor 2 of the app points to, if it lies in its container.

        A crash report quotes it: after the death /proc/<pid>/fd is gone, so it has to be held before.
        """
        link = f"/proc/{self._pid}/fd/2"
        try:
            target = str(Path(link).readlink())
            if target == self._stderr_target:
                return
            self._stderr_target = target
            if not self._inside(target):
                return
            descriptor = os.open(link, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # closed, or the process is going: there is nothing to follow
        # between the look and the opening the app may have pointed it elsewhere
        if not self._inside(str(Path(f"/proc/self/fd/{descriptor}").readlink())):
            os.close(descriptor)
            return
        if self.stderr_fd is not None:
            os.close(self.stderr_fd)
        self.stderr_fd = descriptor

    def _inside(self, target: str) -> bool:
        path = Path(target)
        return path.is_absolute() and path.is_relative_to(self._container) and path.is_file()

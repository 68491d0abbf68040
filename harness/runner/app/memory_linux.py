"""What this process costs, read from Linux. The only module that knows /proc.

``footprint`` is the likeness of iOS's phys_footprint: anonymous and swapped pages and page tables; clean file pages do
not count. One pread of /proc/self/status costs 11–12 µs (median; p99 21 µs with 1 GiB mapped; /proc/self/statm 2 µs),
so every sample uses it, at 1 kHz too: statm has neither swap nor page tables.
"""

from __future__ import annotations

import os
import resource
import time
from typing import NamedTuple

from .emulated_gpu import EmulatedGpu
from .system_state import SystemState

SAMPLE_COLUMNS = (
    "footprint",
    "resident",
    "virtual",
    "available",
    "metal",
    "compressed",
    "pageins",
    "faults",
    "cpu_ns",
    "thermal",
)
FOOTPRINT, RESIDENT, AVAILABLE = 0, 1, 3

LIMIT_VARIABLE = "VIRTUAL_FOOTPRINT_LIMIT_BYTES"
"""A virtual iPhone tells its apps the limit here (a real one through os_proc_available_memory)."""
STATUS_BYTES = 8192


class Peaks(NamedTuple):
    """The kernel's own high-water marks of this process, bytes."""

    resident: int
    virtual: int


class MemoryReader:
    """Reads this process's memory. Keeps one file open; safe to call from any thread.

    ``metal`` and ``thermal`` are what a virtual phone emulates; None where it emulates none.
    """

    def __init__(self, gpu: EmulatedGpu | None = None, system: SystemState | None = None) -> None:
        self._gpu = gpu
        self._system = system
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        limit = os.environ.get(LIMIT_VARIABLE)
        # Anything but a number is a mistake of the phone's and must not look like "no limit" (None).
        self.limit_bytes = None if limit is None else int(limit)

    def read(self) -> tuple[int | None, ...]:
        """Take one reading, in the order of SAMPLE_COLUMNS; None where this platform has no such thing."""
        status = os.pread(self._status, STATUS_BYTES, 0)
        footprint = _footprint(status)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return (
            footprint,
            _field(status, b"\nVmRSS:"),
            _field(status, b"\nVmSize:"),
            None if self.limit_bytes is None else max(0, self.limit_bytes - footprint),
            None if self._gpu is None else self._gpu.allocated_bytes,
            None,
            usage.ru_majflt,
            usage.ru_minflt + usage.ru_majflt,
            time.process_time_ns(),
            None if self._system is None else self._system.thermal,
        )

    def footprint(self) -> int:
        """Return the footprint now, bytes."""
        return _footprint(os.pread(self._status, STATUS_BYTES, 0))

    def peaks(self) -> Peaks:
        """Return the kernel's peaks so far."""
        status = os.pread(self._status, STATUS_BYTES, 0)
        return Peaks(_field(status, b"\nVmHWM:"), _field(status, b"\nVmPeak:"))


def _footprint(status: bytes) -> int:
    return _field(status, b"\nRssAnon:") + _field(status, b"\nVmSwap:") + _field(status, b"\nVmPTE:")


def _field(status: bytes, name: bytes) -> int:
    """Return one ``Name:   123 kB`` field in bytes."""
    start = status.index(name) + len(name)
    return int(status[start : status.index(b" kB", start)]) * 1024

"""A load that stops before the kernel stops it: when less than a reserve is left below the footprint limit.

What it can interrupt: the steps that come in chunks (pre-warming, the floors, an emulated GPU's upload) look between
two chunks. A call into an engine cannot be interrupted from outside, so while one runs a thread of the guard's own
looks, and the only thing it can do is to end the process, after the reason has been written and sent.
"""

from __future__ import annotations

from .job import Job, Refusal
from .memory_linux import MemoryReader

GUARD_HZ = 500
"""How often the guard's own thread looks. Bulk allocation takes some 5 MB a millisecond."""
EXIT_GUARDED = 75
"""The exit code of a process that the guard ended inside an engine's call (EX_TEMPFAIL)."""
SEND_S = 0.1
"""How long the reason may take to be sent: the engine goes on allocating meanwhile, and the journal has it anyway."""
ONE_CALL = ("load_library", "create_engine", "create_session")
"""Phases that are one call into an engine: nothing can stop it but the end of the process."""


class MemoryGuard:
    """Knows when a load must stop."""

    def __init__(self, reserve_bytes: int, memory: MemoryReader) -> None:
        self._reserve_bytes = reserve_bytes
        self._memory = memory

    def reason(self) -> str | None:
        """Why the load must stop now; None while there is room."""
        limit = self._memory.limit_bytes
        footprint = self._memory.footprint()
        if limit is None or footprint < limit - self._reserve_bytes:
            return None
        return (
            f"memory guard: the footprint of {footprint} bytes has come within {self._reserve_bytes} bytes of the "
            f"limit of {limit} bytes"
        )


def guard_of(job: Job, memory: MemoryReader) -> MemoryGuard | None:
    """The guard a job asks for. Raises Refusal when there is no limit to watch."""
    if job.guard is None:
        return None
    if memory.limit_bytes is None:
        raise Refusal("bad_job", "guard: this phone does not tell the app its memory limit")
    return MemoryGuard(job.guard.reserve_bytes, memory)

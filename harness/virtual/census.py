"""Counts what a phone's process holds, so that a test can tell whether anything leaks."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.virtual.phone import Phone


def take_census(phone: Phone) -> dict[str, int]:
    """`open_files` and `tasks` of the whole process (several phones may share it), the rest of this phone.

    The count includes what the asking itself needs, so compare two counts taken the same way.
    """
    # what waits in a reference cycle is no leak, but would be counted
    gc.collect()
    descriptors = list(Path("/proc/self/fd").iterdir())
    return {
        # listing the folder takes one
        "open_files": len(descriptors) - 1,
        "tasks": len(asyncio.all_tasks()),
        "app_processes": sum(row.bundle_id is not None for row in phone.processes.listing()),
        "tunnels": len(phone.tunnels),
    }

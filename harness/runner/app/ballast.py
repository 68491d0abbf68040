"""Memory that a build occupies on purpose, from its start to its end: a load that really is worse by that much.

It tells whether the alarm goes off when it should, which no simulated figure can.
"""

from __future__ import annotations

import mmap


def hold_ballast(size_bytes: int) -> mmap.mmap | None:
    """Anonymous memory, every page written to; None for a size of 0. Raises OSError when there is no room."""
    if not size_bytes:
        return None
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # a page that was only mapped costs nothing
    for start in range(0, size_bytes, mmap.PAGESIZE):
        memory[start] = 1
    return memory

"""How much private memory could be mapped at once: found by trying. Nothing that is tried is ever touched.

On a virtual phone ``RLIMIT_DATA`` stands for the wall of a phone's address space, and counts private writable mappings
whether they may be overcommitted or not: the answer is that limit less what the app has.
"""

from __future__ import annotations

import mmap

RESOLUTION_BYTES = 1 << 20
HIGHEST_BYTES = 1 << 47
"""All that a process can address on the 64-bit systems of Linux and Apple."""
NO_RESERVE = 0x4000
"""MAP_NORESERVE of linux/mman.h, which Python does not name: how much memory the machine has must not matter."""


def largest_mapping_bytes() -> int:
    """The largest mapping that can be had now, rounded down to RESOLUTION_BYTES; 27 tries, some 0.1 ms.

    Only for an app that does nothing else meanwhile: for a moment nothing is left for anybody.
    """
    low, high = 0, HIGHEST_BYTES // RESOLUTION_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        if _can_be_mapped(middle * RESOLUTION_BYTES):
            low = middle
        else:
            high = middle
    return low * RESOLUTION_BYTES


def _can_be_mapped(size_bytes: int) -> bool:
    try:
        mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE).close()
    except OSError:
        return False
    return True

"""Taking turns with other processes at a file or a folder, without holding up the event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

LOCK_POLL_S = 0.1


@asynccontextmanager
async def only_us(path: Path) -> AsyncIterator[None]:
    """Holds a lock on `path`, which is made, for the length of the block. No link is followed; raises OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        # asked again and again: a thread that waits could not be called back
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)

"""Does the process still live? Told within a second of its end, however the connection to the app behaves.

The phone's own notice is the fastest; the process list, asked again and again, tells where there is no notice or where
it got lost with a tunnel.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from harness.bench.cable import CableWatch
from harness.device.errors import StepError
from harness.device.interface import Transport

# Half of what may pass until an end is noticed; a question takes about 10 ms.
ASK_EVERY_S = 0.5
# The process list may be ahead of the notice, which says more.
NOTICE_LIMIT_S = 0.3

log = logging.getLogger(__name__)


class EndWatch:
    """Over one process; `start` it after the launch and `stop` it in every case."""

    def __init__(self, transport: Transport, cable: CableWatch, pid: int) -> None:
        self.pid = pid
        self.ended = asyncio.Event()
        self.words: str | None = None
        """How the phone told of the end; None: it did not, the process list did."""
        self._transport = transport
        self._cable = cable
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                # the process list is asked once more at the end, so that losing the watch loses no more than time
                log.error("the watch over process %d ended: %s", self.pid, error)

    async def wait(self, limit_s: float) -> bool:
        """Has it ended, now or within the limit?"""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.ended.wait()
        return self.ended.is_set()

    async def _watch(self) -> None:
        notice = asyncio.create_task(self._notice())
        try:
            while not notice.done() or notice.result() is None:
                if not await self._runs():
                    await asyncio.wait({notice}, timeout=NOTICE_LIMIT_S)
                    break
                if notice.done():
                    await asyncio.sleep(ASK_EVERY_S)
                else:
                    await asyncio.wait({notice}, timeout=ASK_EVERY_S)
            self.words = notice.result() if notice.done() else None
            self.ended.set()
        finally:
            notice.cancel()
            await asyncio.wait({notice})

    async def _runs(self) -> bool:
        """False only where the phone says so."""
        try:
            return await self._cable.through("ask whether the app runs", self._transport.is_running(self.pid))
        except StepError as error:
            log.debug("process %d: %s", self.pid, error)
            return True

    async def _notice(self) -> str | None:
        while True:
            try:
                return await self._transport.wait_ended(self.pid)
            except StepError as error:
                log.debug("process %d: %s", self.pid, error)
            # the connection broke, or the process was gone before it could be observed: then the list will tell
            await asyncio.sleep(ASK_EVERY_S)
            await self._cable.wait_back()

"""The instrument `graphics.opengl`: periodic counters of screen and GPU.

This phone has neither a screen nor a GPU, so what it says is true and always the same: no frames, no utilisation.
Counters that would need either (memory of textures, scenes, the card's name) are absent rather than made up.
Samples are OBJECT messages that ask for a reply, which one client tool insists on; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.virtual.services.instrument import Channel, Refused, Selector
from harness.virtual.stream import StreamClosed
from harness.virtual.wire.keyed_archive import archive

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

IDENTIFIER = "com.apple.instruments.server.services.graphics.opengl"
DEFAULT_INTERVAL_S = 1.0
MINIMUM_INTERVAL_S = 0.05
MAXIMUM_INTERVAL_S = 3600.0
STATISTICS = (
    "CoreAnimationFramesPerSecond",
    "Device Utilization %",
    "Renderer Utilization %",
    "Tiler Utilization %",
)


def parse_interval(value: object) -> float:
    """The client's wish in seconds, 0 for the default; raises Refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAXIMUM_INTERVAL_S:
        raise Refused(f"the interval must be a number of seconds from 0 to {MAXIMUM_INTERVAL_S:.0f}")
    return max(float(value), MINIMUM_INTERVAL_S) if value else DEFAULT_INTERVAL_S


class Graphics:
    """One open channel."""

    def __init__(self, channel: Channel, phone: Phone) -> None:
        self._channel = channel
        self._task: asyncio.Task[None] | None = None
        self.selectors: Mapping[str, Selector] = {
            "availableStatistics": self._available_statistics,
            "setSamplingRate:": self._set_sampling_rate,
            "startSamplingAtTimeInterval:": self._start,
            "stopSampling": self._stop,
        }

    async def close(self) -> None:
        """Ends the sampling."""
        await self._stop()

    async def _available_statistics(self) -> object:
        return list(STATISTICS)

    async def _set_sampling_rate(self, rate: object) -> object:
        """Taken and not used: how it and the interval relate on a phone is not known."""
        return None

    async def _start(self, interval: object) -> object:
        interval_s = parse_interval(interval)
        await self._stop()
        self._task = asyncio.create_task(self._run(interval_s))
        return None

    async def _stop(self) -> object:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        return None

    async def _run(self, interval_s: float) -> None:
        with contextlib.suppress(StreamClosed):
            while True:
                sample: dict[str, object] = dict.fromkeys(STATISTICS, 0)
                sample["XRVideoCardRunTimeStamp"] = time.monotonic_ns() // 1000
                await self._channel.send_object(archive(sample), expects_reply=True)
                await asyncio.sleep(interval_s)

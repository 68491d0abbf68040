"""com.apple.mobile.heartbeat: the phone says Marco, the client says Polo, and who does not is hung up on.

Interval and patience are assumed. On a real phone a client's other connections over Wi-Fi live by it; here nothing
else depends on it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.wire.plist import PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

INTERVAL_S = 10
PATIENCE_S = 2.0 * INTERVAL_S


async def serve(stream: Stream, phone: Phone) -> None:
    """Calls once an interval until the client goes, errs, or does not answer in time."""
    while True:
        await send_plist(stream, {"Command": "Marco", "Interval": INTERVAL_S, "SupportsSleepyTime": True})
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await receive_plist(stream)
        except TimeoutError:
            await send_plist(stream, {"Command": "SleepyTime"})
            return
        except PlistFrameError:
            return
        if answer is None or answer.get("Command") != "Polo":
            return
        try:
            async with asyncio.timeout(INTERVAL_S):
                # nothing is due now: either the client goes, or it does not speak this
                await stream.receive(1)
            return
        except TimeoutError:
            continue

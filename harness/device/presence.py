"""Is the phone there, or back within its grace time? A pulled cable may be put back."""

from __future__ import annotations

import asyncio
import logging

from harness.device.errors import StepError
from harness.device.interface import Transport

# What a suite grants when it says nothing.
GRACE_S = 10.0
POLL_S = 0.1

log = logging.getLogger(__name__)


async def wait_until_present(transport: Transport, grace_s: float) -> bool:
    """True as soon as the phone is attached; False when it was not for `grace_s`. Looks once at least."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    while True:
        try:
            if await transport.is_present():
                return True
        except StepError as error:
            # usbmuxd itself may go and come with the cable
            log.debug("%s: not back yet: %s", transport.facts.udid, error)
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(min(POLL_S, max(0.0, deadline - loop.time())))

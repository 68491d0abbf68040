"""Word from usbmuxd whenever a phone comes or goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pymobiledevice3 import usbmux

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.pymobiledevice3_.attached import AttachedPhone
from harness.device.pymobiledevice3_.steps import step

START_USBMUXD = "Start usbmuxd (Linux: `systemctl start usbmuxd`)"


async def attachments(usbmux_address: str | None = None) -> AsyncIterator[frozenset[AttachedPhone]]:
    """The phones that are attached, anew after each change; raises StepError (lost) once usbmuxd goes away.

    The first is empty: usbmuxd answers, and then tells of the phones that are there one by one.
    """
    with step("listen for phones", "usbmuxd", limits.ATTACH_LIMIT_S, Outcome.LOST, START_USBMUXD):
        async with asyncio.timeout(limits.ATTACH_LIMIT_S):
            mux = await usbmux.create_mux(usbmux_address=usbmux_address)
        try:
            async with asyncio.timeout(limits.ATTACH_LIMIT_S):
                await mux.listen()  # type: ignore[no-untyped-call]  # pymobiledevice3 leaves it unannotated
            while True:
                yield frozenset(AttachedPhone(device.serial, device.connection_type) for device in mux.devices)
                await mux.receive_device_state_update()  # type: ignore[no-untyped-call]  # unannotated there
        finally:
            await mux.close()  # type: ignore[no-untyped-call]  # unannotated there

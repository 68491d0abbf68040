"""Which phones usbmuxd has, and the variable through which the library finds it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from pymobiledevice3 import usbmux

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.pymobiledevice3_.steps import step

SOCKET_VARIABLE = "USBMUXD_SOCKET_ADDRESS"


@dataclass(frozen=True)
class AttachedPhone:
    udid: str
    connection: str
    """`USB` or `Network`."""


async def attached_phones(usbmux_address: str | None = None) -> list[AttachedPhone]:
    """The phones that usbmuxd lists; raises StepError when there is no usbmuxd."""
    with step(
        "list", "usbmuxd", limits.ATTACH_LIMIT_S, Outcome.LOST, "Start usbmuxd (Linux: `systemctl start usbmuxd`)"
    ):
        async with asyncio.timeout(limits.ATTACH_LIMIT_S):
            devices = await usbmux.list_devices(usbmux_address=usbmux_address)
    return [AttachedPhone(device.serial, device.connection_type) for device in devices]


def restore_address(former: str | None) -> None:
    if former is None:
        os.environ.pop(SOCKET_VARIABLE, None)
    else:
        os.environ[SOCKET_VARIABLE] = former

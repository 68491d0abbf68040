"""Which phones usbmuxd has, and the variable through which the library finds it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from pymobiledevice3 import usbmux

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.pymobiledevice3_.steps import step

SOCKET_VARIABLE = "USBMUXD_SOCKET_ADDRESS"
# usbmuxd is on this machine, and answers a listing after 0.1 s
SETTLE_S = 1.0

_Value = TypeVar("_Value")


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
            devices = await to_its_end(usbmux.list_devices(usbmux_address=usbmux_address))
    return [AttachedPhone(device.serial, device.connection_type) for device in devices]


async def to_its_end(work: Coroutine[Any, Any, _Value], drop: Callable[[_Value], object] = lambda _: None) -> _Value:
    """The work's value. The library leaves sockets behind when it is cancelled half-way: who gives up on a question to
    usbmuxd waits for its answer all the same, at most SETTLE_S, and `drop`s it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({task}, timeout=SETTLE_S)
        task.cancel()
        if done and not task.cancelled() and task.exception() is None:
            drop(task.result())
        raise


def restore_address(former: str | None) -> None:
    if former is None:
        os.environ.pop(SOCKET_VARIABLE, None)
    else:
        os.environ[SOCKET_VARIABLE] = former

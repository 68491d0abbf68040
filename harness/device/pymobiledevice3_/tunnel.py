"""What the developer services of a phone are reached through: lockdown, our own tunnel, or that of a running tunneld.

Before iOS 17 they are services of lockdown. Since 17.4 an ordinary user can make the tunnel behind which they are.
In between only root can; pymobiledevice3's tunneld, started by root, lends its tunnels to everybody on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from packaging.version import InvalidVersion, Version
from pymobiledevice3.exceptions import TunneldConnectionError
from pymobiledevice3.lockdown import LockdownClient
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.tunneld.api import TUNNELD_DEFAULT_ADDRESS, TunneldAddress, get_tunneld_tunnels

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.device import limits
from harness.device.errors import StepError

TUNNELD_REMEDY = (
    "Start one and leave it running: `sudo pymobiledevice3 remote tunneld` (docs/transports.md); "
    "or update the phone to iOS 17.4 or later, which needs none"
)
NO_TUNNEL_REMEDY = "Unlock the phone and give tunneld a few seconds; its own output says what keeps it from the phone"

# How soon a tunnel that has gone is noticed.
POLL_S = 1.0
_FIRST_WITH_TUNNEL = Version("17.0")
_FIRST_WITHOUT_ROOT = Version("17.4")


class Way(StrEnum):
    LOCKDOWN = "lockdown"
    OWN_TUNNEL = "own tunnel"
    TUNNELD = "tunneld"


@dataclass(frozen=True)
class DeveloperRoute:
    way: Way
    tunneld: TunneldAddress = TUNNELD_DEFAULT_ADDRESS


def route_of(facts: PhoneFacts) -> DeveloperRoute:
    """The way that the phone's iOS asks for; raises StepError when it tells no version."""
    try:
        version = Version(facts.os_version)
    except InvalidVersion:
        text = f"the phone says that its iOS is {facts.os_version[:40]!r}"
        raise StepError("read the iOS version", facts.udid, text, "", Outcome.HARNESS_ERROR) from None
    if version < _FIRST_WITH_TUNNEL:
        return DeveloperRoute(Way.LOCKDOWN)
    return DeveloperRoute(Way.OWN_TUNNEL if version >= _FIRST_WITHOUT_ROOT else Way.TUNNELD)


async def leads_there(route: DeveloperRoute, udid: str) -> bool:
    """Is the way open? Only that of tunneld depends on what runs on this machine."""
    if route.way is not Way.TUNNELD:
        return True
    try:
        await _tunnel_of(route, udid)
    except StepError:
        return False
    return True


async def open_carrier(
    stack: AsyncExitStack, lockdown: LockdownClient, facts: PhoneFacts, route: DeveloperRoute
) -> Any:
    """What the library's developer services can be made on; closed with `stack`.

    Raises StepError (not_ready) when it takes a tunneld and there is none, or none with a tunnel to this phone.
    """
    if route.way is Way.LOCKDOWN:
        return lockdown
    if route.way is Way.OWN_TUNNEL:
        tunnel = UserspaceRsdTunnel(serial=facts.udid, autopair=False, remotepairing_fallback=False)
        return await stack.enter_async_context(tunnel)
    rsd = RemoteServiceDiscoveryService(await _tunnel_of(route, facts.udid))
    stack.push_async_callback(rsd.close)
    await rsd.connect()
    return rsd


async def until_gone(
    route: DeveloperRoute, udid: str, carrier: RemoteServiceDiscoveryService, ended: Callable[[], Awaitable[None]]
) -> None:
    """Returns once tunneld has no longer the tunnel that `carrier` goes through, or once `ended` does.

    What is sent into a tunnel of the kernel that has gone is lost without a word; TCP notices some 20 s later.
    """
    while True:
        try:
            if await _tunnel_of(route, udid) != carrier.service.address:
                return
        except StepError:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await ended()
                return


async def _tunnel_of(route: DeveloperRoute, udid: str) -> tuple[str, int]:
    """Address and port of the phone's end of the tunnel that tunneld holds."""
    name, where = "open the tunnel", "{}:{}".format(*route.tunneld)
    try:
        async with asyncio.timeout(limits.TUNNELD_LIMIT_S):
            tunnels = await get_tunneld_tunnels(route.tunneld)
    except (TunneldConnectionError, TimeoutError):
        text = f"this iOS needs a tunnel that only root can make, and no tunneld answers at {where}"
        raise StepError(name, udid, text, TUNNELD_REMEDY, Outcome.NOT_READY) from None
    for told, entries in tunnels.items() if isinstance(tunnels, Mapping) else ():
        # some usbmuxd leave the dash out
        if told.replace("-", "") != udid.replace("-", "") or not isinstance(entries, list):
            continue
        for entry in entries:
            told_all = entry if isinstance(entry, Mapping) else {}
            address, port = told_all.get("tunnel-address"), told_all.get("tunnel-port")
            if isinstance(address, str) and isinstance(port, int):
                return address, port
    text = f"the tunneld at {where} has no tunnel to this phone"
    raise StepError(name, udid, text, NO_TUNNEL_REMEDY, Outcome.NOT_READY)

"""Files on the phone over AFC: the library opens the connection, what is said there is ours (harness.device.afc)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymobiledevice3.exceptions import (
    AppNotInstalledError,
    ConnectionTerminatedError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.lockdown import LockdownClient
from pymobiledevice3.service_connection import ServiceConnection
from pymobiledevice3.services.house_arrest import HouseArrestService

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.afc_container import AfcContainer
from harness.device.pymobiledevice3_.steps import step

RECEIVE_BYTES = 256 * 1024


class ServiceChannel:
    """`Channel` (harness.device.afc_connection) over a service of the phone."""

    def __init__(self, service: ServiceConnection) -> None:
        self._service = service

    async def send(self, data: bytes) -> None:
        try:
            await self._service.sendall(data)
        except ConnectionTerminatedError as error:
            raise ConnectionResetError("the connection broke") from error
        # what tells of a broken connection is a callback of the event loop, which must have its turn
        await asyncio.sleep(0)

    async def receive(self) -> bytes:
        try:
            return await self._service.recv_any(RECEIVE_BYTES)
        except ConnectionTerminatedError as error:
            raise ConnectionResetError("the connection broke") from error

    async def close(self) -> None:
        # waits a second at most, then aborts
        await self._service.close()


@asynccontextmanager
async def app_container(lockdown: LockdownClient, udid: str, bundle_id: str) -> AsyncIterator[AfcContainer]:
    """The files of an app that this host's developer has signed."""
    with step("open the app's files", udid, limits.SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            channel = await _vended(lockdown, bundle_id)
    container = AfcContainer(channel, udid)
    try:
        yield container
    finally:
        await container.close()


@asynccontextmanager
async def service_files(
    lockdown: LockdownClient, udid: str, service: str, outcome: Outcome
) -> AsyncIterator[AfcContainer]:
    """The files that a service speaking AFC shows; `outcome` of what fails there."""
    with step(f"open the files of {service}", udid, limits.SERVICE_LIMIT_S, outcome):
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            channel = ServiceChannel(await lockdown.start_lockdown_service(service))
    container = AfcContainer(channel, udid, outcome)
    try:
        yield container
    finally:
        await container.close()


async def _vended(lockdown: LockdownClient, bundle_id: str) -> ServiceChannel:
    service = await lockdown.start_lockdown_service(HouseArrestService.SERVICE_NAME)
    try:
        answer = await service.send_recv_plist({"Command": "VendContainer", "Identifier": bundle_id})
        error = answer.get("Error")
        if error == "ApplicationLookupFailed":
            raise AppNotInstalledError(f"no app {bundle_id} is installed")
        if error is not None:
            raise PyMobileDevice3Exception(f"the phone does not open the files of {bundle_id}: {error!s:.200}")
    except BaseException:
        await service.close()
        raise
    return ServiceChannel(service)

"""Files on the phone over AFC: tidevice finds the service, what is said there is ours (harness.device.afc).

tidevice's own AFC keeps one request outstanding, cannot resume, and reads what it pushes without a limit in time.
"""

from __future__ import annotations

import asyncio
import plistlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.afc_container import AfcContainer
from harness.device.tidevice_.reach import Reach, StreamChannel
from harness.device.tidevice_.steps import step

HOUSE_ARREST_SERVICE = "com.apple.mobile.house_arrest"
MEDIA_SERVICE = "com.apple.afc"
REPORT_MOVER_SERVICE = "com.apple.crashreportmover"
REPORT_SERVICE = "com.apple.crashreportcopymobile"
MOVER_WORD = b"ping\0"
# An answer of house_arrest has two short strings.
MAX_ANSWER_BYTES = 64 * 1024


class Vending(Exception):
    """house_arrest does not open the files of an app."""


@asynccontextmanager
async def app_container(reach: Reach, bundle_id: str) -> AsyncIterator[AfcContainer]:
    """The files of an app that this host's developer has signed."""
    with step("open the app's files", reach.udid, limits.SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            channel = await reach.service(HOUSE_ARREST_SERVICE)
            try:
                await _vend(channel, bundle_id)
            except BaseException:
                await channel.close()
                raise
    async with _container(channel, reach.udid, Outcome.PUSH_FAILED) as container:
        yield container


@asynccontextmanager
async def media_files(reach: Reach) -> AsyncIterator[AfcContainer]:
    """The phone's Media folder, where packages are staged."""
    outcome = Outcome.INSTALL_FAILED
    with step("open the phone's files", reach.udid, limits.SERVICE_LIMIT_S, outcome):
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            channel = await reach.service(MEDIA_SERVICE)
    async with _container(channel, reach.udid, outcome) as container:
        yield container


@asynccontextmanager
async def crash_reports(reach: Reach) -> AsyncIterator[AfcContainer]:
    """The folder of crash reports, after those still pending were moved there."""
    outcome = Outcome.HARNESS_ERROR
    with step("open the crash reports", reach.udid, limits.SERVICE_LIMIT_S, outcome):
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            mover = await reach.service(REPORT_MOVER_SERVICE)
            try:
                await mover.receive_exactly(len(MOVER_WORD))
            finally:
                await mover.close()
            channel = await reach.service(REPORT_SERVICE)
    async with _container(channel, reach.udid, outcome) as container:
        yield container


@asynccontextmanager
async def _container(channel: StreamChannel, udid: str, outcome: Outcome) -> AsyncIterator[AfcContainer]:
    container = AfcContainer(channel, udid, outcome)
    try:
        yield container
    finally:
        await container.close()


async def _vend(channel: StreamChannel, bundle_id: str) -> None:
    """Raises Vending, ConnectionError."""
    request = plistlib.dumps({"Command": "VendContainer", "Identifier": bundle_id})
    await channel.send(struct.pack(">I", len(request)) + request)
    (size,) = struct.unpack(">I", await channel.receive_exactly(4))
    if size > MAX_ANSWER_BYTES:
        raise Vending(f"the phone announced an answer of {size} bytes")
    answer: Any = plistlib.loads(await channel.receive_exactly(size))
    error = answer.get("Error")
    if error == "ApplicationLookupFailed":
        raise Vending(f"no app {bundle_id} is installed")
    if error is not None:
        raise Vending(f"the phone does not open the files of {bundle_id}: {error!s:.200}")

"""The developer services: launch, kill, the process list, the system monitor.

Before iOS 17 they are reached through lockdown, since 17.4 through a userspace tunnel; `DeveloperServices` opens them
on first use and again after the tunnel has broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from packaging.version import Version
from pymobiledevice3.exceptions import InvalidServiceError, PyMobileDevice3Exception
from pymobiledevice3.lockdown import LockdownClient
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.core.telemetry import Reading, Source
from harness.device import limits
from harness.device.errors import StepError
from harness.device.pymobiledevice3_.steps import DEVELOPER_REMEDY, step
from harness.device.pymobiledevice3_.values import whole

TUNNEL_ATTEMPTS = 3

# A tap's late samples are logged as warnings of 30 KB each after it is closed; the library offers no other switch.
logging.getLogger("pymobiledevice3.dtx").setLevel(logging.ERROR)


@dataclass
class _Instruments:
    """The developer services, and the stack that closes them with what carries them."""

    stack: AsyncExitStack
    provider: DvtProvider
    info: DeviceInfo
    control: ProcessControl
    disconnected: asyncio.Task[None]
    """Done once the connection has ended from the other side."""

    @property
    def broken(self) -> bool:
        return self.disconnected.done()

    async def close(self) -> None:
        self.disconnected.cancel()
        await self.stack.aclose()


class DeveloperServices:
    """Of one phone; every method raises StepError when the phone or the cable is in the way."""

    def __init__(self, lockdown: LockdownClient, facts: PhoneFacts) -> None:
        self._lockdown = lockdown
        self._facts = facts
        self._instruments: _Instruments | None = None

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        with step("launch", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED, DEVELOPER_REMEDY):
            instruments = await self._ready()
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return int(
                    await instruments.control.launch(bundle_id, [], kill_existing=True, environment=dict(environment))
                )

    async def kill(self, pid: int) -> None:
        with step("kill the app", self._facts.udid, limits.KILL_LIMIT_S, Outcome.HARNESS_ERROR):
            if not await self.is_running(pid):
                return
            instruments = await self._ready()
            async with asyncio.timeout(limits.KILL_LIMIT_S):
                await instruments.control.kill(pid)

    async def is_running(self, pid: int) -> bool:
        with step("ask whether the app runs", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            instruments = await self._ready()
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return bool(await instruments.info.is_running_pid(pid))

    async def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        attributes = ["pid", "physFootprint", "memResidentSize"]
        with step("watch the app's memory", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            instruments = await self._ready()
            clock = await self._mach_clock(instruments)
            async with Sysmontap(instruments.provider, attributes, [], interval_ms=interval_ms) as tap:
                async for row in tap:
                    values = _process_row(row, pid)
                    if values is not None:
                        yield Reading(
                            source=Source.HOST,
                            t_ns=clock.host_ns(row.get("EndMachAbsTime")),
                            footprint_bytes=whole(values[1]),
                            resident_bytes=whole(values[2]),
                        )

    async def _mach_clock(self, instruments: _Instruments) -> _MachClock:
        """Readings carry the phone's own time, since they arrive late when either side is busy."""
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            sent_ns = time.monotonic_ns()
            told = await instruments.info.service.mach_time_info()
            received_ns = time.monotonic_ns()
        ticks, numerator, denominator = (whole(value) for value in list(told)[:3])
        if not ticks or not numerator or not denominator:
            text = f"the phone told a clock that is none: {told!r:.80}"
            raise StepError("read the phone's clock", self._facts.udid, text, "", Outcome.HARNESS_ERROR)
        return _MachClock(numerator, denominator, (sent_ns + received_ns) // 2 - ticks * numerator // denominator)

    async def _ready(self) -> _Instruments:
        """The developer services, opened on first use and again after the tunnel has broken."""
        if self._instruments is not None and not self._instruments.broken:
            return self._instruments
        await self.close()
        # the library gives the tunnel's first connections one second each, too little on a busy host
        for attempt in range(TUNNEL_ATTEMPTS):
            try:
                return await self._open()
            except StepError as error:
                if error.outcome is not Outcome.LAUNCH_FAILED or attempt == TUNNEL_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _open(self) -> _Instruments:
        name = "open the developer services"
        with step(name, self._facts.udid, limits.TUNNEL_LIMIT_S, Outcome.LAUNCH_FAILED, DEVELOPER_REMEDY):
            async with asyncio.timeout(limits.TUNNEL_LIMIT_S), AsyncExitStack() as stack:
                carrier = await self._carrier(stack)
                try:
                    provider = await stack.enter_async_context(DvtProvider(carrier))
                except InvalidServiceError as error:
                    text = "the phone offers no developer services"
                    raise StepError("open", self._facts.udid, text, DEVELOPER_REMEDY, Outcome.NOT_READY) from error
                info = await stack.enter_async_context(DeviceInfo(provider))
                control = await stack.enter_async_context(ProcessControl(provider))
                disconnected = asyncio.create_task(provider.dtx.wait_disconnected())
                instruments = _Instruments(stack.pop_all(), provider, info, control, disconnected)
        self._instruments = instruments
        return instruments

    async def _carrier(self, stack: AsyncExitStack) -> Any:
        """What the developer services are reached through: lockdown before iOS 17, a userspace tunnel since 17.4."""
        version = Version(self._facts.os_version)
        if version < Version("17.0"):
            return self._lockdown
        if version < Version("17.4"):
            text = f"iOS {version} needs a tunnel that only root can make"
            remedy = "Update the phone to iOS 17.4 or later"
            raise StepError("open the tunnel", self._facts.udid, text, remedy, Outcome.NOT_READY)
        tunnel = UserspaceRsdTunnel(serial=self._facts.udid, autopair=False, remotepairing_fallback=False)
        return await stack.enter_async_context(tunnel)

    async def close(self) -> None:
        instruments, self._instruments = self._instruments, None
        if instruments is not None:
            with contextlib.suppress(PyMobileDevice3Exception, OSError, TimeoutError):
                async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                    await instruments.close()


@dataclass(frozen=True)
class _MachClock:
    """The phone's mach time on the host's monotonic clock."""

    numerator: int
    denominator: int
    offset_ns: int

    def host_ns(self, ticks: object) -> int:
        """Now, when the phone did not say."""
        told = whole(ticks)
        return time.monotonic_ns() if told is None else told * self.numerator // self.denominator + self.offset_ns


def _process_row(row: Any, pid: int) -> Sequence[object] | None:
    """The values of one process in a sysmontap row (pid, footprint, resident); None in rows of other kinds."""
    processes = row.get("Processes") if isinstance(row, Mapping) else None
    values = processes.get(pid) if isinstance(processes, Mapping) else None
    return values if isinstance(values, Sequence) and len(values) == 3 and values[0] == pid else None

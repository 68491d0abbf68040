"""The developer services: launch, kill, the process list, the system monitor.

What leads to them depends on the iOS (tunnel.py); `DeveloperServices` opens them on first use and again after the
connection has broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from pymobiledevice3.dtx import DTXContext, dtx_on_invoke
from pymobiledevice3.exceptions import InvalidServiceError, PyMobileDevice3Exception
from pymobiledevice3.lockdown import LockdownClient
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl, ProcessControlService
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.core.telemetry import Reading
from harness.device import limits
from harness.device.errors import DEVELOPER_REMEDY, StepError
from harness.device.pymobiledevice3_.steps import step
from harness.device.pymobiledevice3_.tunnel import DeveloperRoute, Way, open_carrier, until_gone
from harness.device.system_monitor import PROCESS_ATTRIBUTES, MachClock, reading_of
from harness.device.values import end_in_words, whole

TUNNEL_ATTEMPTS = 3
# An opening that nobody waits for any more is let finish for so long before the end.
OPENING_PATIENCE_S = 5.0

# A tap's late samples are logged as warnings of 30 KB each after it is closed; the library offers no other switch.
# A cable that is pulled is our matter: it is a step's error and a record's evidence, no traceback on stderr.
for _name in ("pymobiledevice3.dtx", "pymobiledevice3.remote"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class _ObservingService(ProcessControlService):
    """The library's own only logs the notice of an end."""

    def __init__(self, ctx: DTXContext) -> None:
        super().__init__(ctx)
        self.ends: dict[int, asyncio.Future[str]] = {}
        """By observed pid; cancelled when the channel closes."""

    @dtx_on_invoke("processWithPID:terminatedWithExitCode:orCrashingSignal:")
    async def _on_process_terminated(self, pid: object, exit_code: object, crashing_signal: object) -> None:
        told = whole(pid)
        end = None if told is None else self.ends.get(told)
        if end is not None and not end.done():
            end.set_result(end_in_words(exit_code, crashing_signal))

    def on_closed(self, reason: str = "") -> None:
        for end in self.ends.values():
            end.cancel()
        super().on_closed(reason)


@dataclass
class _Instruments:
    """The developer services, and the stack that closes them with what carries them."""

    stack: AsyncExitStack
    provider: DvtProvider
    info: DeviceInfo
    control: ProcessControl
    observer: _ObservingService
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

    def __init__(
        self,
        lockdown: LockdownClient,
        facts: PhoneFacts,
        route: DeveloperRoute,
        refused: Callable[[], None],
        renew_session: Callable[[], Awaitable[None]],
    ) -> None:
        """`refused` is called when the phone would not open the services or launch an app; `renew_session` before
        lockdownd is asked for something.
        """
        self._lockdown = lockdown
        self._facts = facts
        self._route = route
        self._refused = refused
        self._renew_session = renew_session
        self._instruments: _Instruments | None = None
        self._opening: asyncio.Task[_Instruments] | None = None

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        with step("launch", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED, DEVELOPER_REMEDY):
            instruments = await self._ready()
            try:
                async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                    return int(
                        await instruments.control.launch(
                            bundle_id, [], kill_existing=True, environment=dict(environment)
                        )
                    )
            except BaseException:
                self._refused()
                raise

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

    async def wait_ended(self, pid: int) -> str:
        """Waits for the phone's own word that the process has ended; StepError when it cannot be observed."""
        with step("observe the app", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            instruments = await self._ready()
            ends = instruments.observer.ends
            end = ends.setdefault(pid, asyncio.get_running_loop().create_future())
            try:
                async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                    await instruments.observer.startObservingPid_(pid)
                # shielded: our caller's cancellation must not look like a closed channel
                return await asyncio.shield(end)
            except asyncio.CancelledError:
                if end.cancelled():
                    text = "the connection ended before the process did"
                    raise StepError("observe the app", self._facts.udid, text, "", Outcome.HARNESS_ERROR) from None
                raise
            finally:
                ends.pop(pid, None)
                end.cancel()

    async def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        attributes = list(PROCESS_ATTRIBUTES)
        with step("watch the app's memory", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            instruments = await self._ready()
            clock = await self._mach_clock(instruments)
            async with Sysmontap(instruments.provider, attributes, [], interval_ms=interval_ms) as tap:
                async for row in tap:
                    reading = reading_of(row, pid, clock)
                    if reading is not None:
                        yield reading

    async def _mach_clock(self, instruments: _Instruments) -> MachClock:
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            sent_ns = time.monotonic_ns()
            info = await instruments.info.service.mach_time_info()
        return MachClock.told(info, sent_ns=sent_ns, received_ns=time.monotonic_ns())

    async def _ready(self) -> _Instruments:
        """The developer services, opened on first use and again after the tunnel has broken."""
        if self._instruments is not None and not self._instruments.broken:
            return self._instruments
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open_again())
            # whoever asked may have been cancelled meanwhile: then nobody wants to hear of a failure
            self._opening.add_done_callback(lambda opening: opening.cancelled() or opening.exception())
        # shielded: several wait for it, and the library leaves sockets behind when it is cancelled half-way
        return await asyncio.shield(self._opening)

    async def _open_again(self) -> _Instruments:
        await self._close_instruments()
        # the library gives the tunnel's first connections one second each, too little on a busy host
        for attempt in range(TUNNEL_ATTEMPTS):
            try:
                return await self._open()
            except StepError as error:
                self._refused()
                if error.outcome is not Outcome.LAUNCH_FAILED or attempt == TUNNEL_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _open(self) -> _Instruments:
        name = "open the developer services"
        await self._renew_session()
        with step(name, self._facts.udid, limits.TUNNEL_LIMIT_S, Outcome.LAUNCH_FAILED, DEVELOPER_REMEDY):
            async with asyncio.timeout(limits.TUNNEL_LIMIT_S), AsyncExitStack() as stack:
                carrier = await open_carrier(stack, self._lockdown, self._facts, self._route)
                try:
                    provider = await stack.enter_async_context(DvtProvider(carrier))
                except InvalidServiceError as error:
                    text = "the phone offers no developer services"
                    raise StepError("open", self._facts.udid, text, DEVELOPER_REMEDY, Outcome.NOT_READY) from error
                info = await stack.enter_async_context(DeviceInfo(provider))
                observer = await provider.dtx.open_channel(_ObservingService)
                control = await stack.enter_async_context(ProcessControl(provider, observer))
                disconnected = asyncio.create_task(self._until_disconnected(provider, carrier))
                instruments = _Instruments(stack.pop_all(), provider, info, control, observer, disconnected)
        self._instruments = instruments
        return instruments

    async def _until_disconnected(self, provider: DvtProvider, carrier: Any) -> None:
        """Ends the connection when the tunnel beneath has gone, where nothing else tells of that."""
        if self._route.way is Way.TUNNELD:
            await until_gone(self._route, self._facts.udid, carrier, provider.dtx.wait_disconnected)
            await provider.dtx.aclose()
        await provider.dtx.wait_disconnected()

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            await asyncio.wait([opening], timeout=OPENING_PATIENCE_S)
            opening.cancel()
            await asyncio.wait([opening])
        await self._close_instruments()

    async def _close_instruments(self) -> None:
        instruments, self._instruments = self._instruments, None
        if instruments is not None:
            with contextlib.suppress(PyMobileDevice3Exception, OSError, TimeoutError):
                async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                    await instruments.close()

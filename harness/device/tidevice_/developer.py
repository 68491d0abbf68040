"""Launch, kill, the process list and the system monitor, on phones below iOS 17."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from harness.core.outcome import Outcome
from harness.core.telemetry import Reading
from harness.device import limits
from harness.device.errors import DEVELOPER_REMEDY, StepError
from harness.device.system_monitor import MachClock, reading_of
from harness.device.tidevice_.instruments import Instruments, open_instruments
from harness.device.tidevice_.phone import TidevicePhone
from harness.device.tidevice_.reach import Reach
from harness.device.tidevice_.steps import step
from harness.device.tidevice_.threads import in_thread

# Rows that a consumer may leave waiting: a minute at the shortest interval in use.
MAX_WAITING_ROWS = 1_000
_END = object()

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _Held:
    """A connection kept open between steps, with the phone that holds its socket."""

    phone: TidevicePhone
    instruments: Instruments
    ends: dict[int, asyncio.Future[str]]
    """Of observed processes; cancelled with the connection."""


class DeveloperServices:
    """Of one phone; every method raises StepError when the phone or the cable is in the way."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._held: _Held | None = None
        self._turn = asyncio.Lock()

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        with step("launch", self._reach.udid, limits.SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED, DEVELOPER_REMEDY):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return await self._do(lambda instruments: instruments.launch(bundle_id, environment))

    async def kill(self, pid: int) -> None:
        def kill(instruments: Instruments) -> None:
            if instruments.is_running(pid):
                instruments.app_kill(pid)
                # the kill itself is not answered: what is asked after it is answered after it
                instruments.is_running(pid)

        with step("kill the app", self._reach.udid, limits.KILL_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.KILL_LIMIT_S):
                await self._do(kill)

    async def is_running(self, pid: int) -> bool:
        with step("ask whether the app runs", self._reach.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return await self._do(lambda instruments: instruments.is_running(pid))

    async def wait_ended(self, pid: int) -> str:
        """Waits for the phone's own word that the process has ended; StepError when it cannot be observed."""
        name = "observe the app"
        with step(name, self._reach.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S), self._turn:
                held = await self._ready()
                end = held.ends.setdefault(pid, asyncio.get_running_loop().create_future())
                await self._ask(held, lambda instruments: instruments.observe(pid))
            try:
                # shielded: our caller's cancellation must not look like a closed connection
                return await asyncio.shield(end)
            except asyncio.CancelledError:
                if end.cancelled():
                    text = "the connection ended before the process did"
                    raise StepError(name, self._reach.udid, text, "", Outcome.HARNESS_ERROR) from None
                raise
            finally:
                held.ends.pop(pid, None)
                end.cancel()

    async def watch_process(self, pid: int, interval_ms: int) -> AsyncGenerator[Reading, None]:
        """On a connection of its own: tidevice knows no other way to stop the system monitor than to hang up."""
        loop = asyncio.get_running_loop()
        rows: asyncio.Queue[object] = asyncio.Queue()
        phone = self._reach.phone()

        def take(row: object) -> None:
            if rows.qsize() < MAX_WAITING_ROWS:
                rows.put_nowait(row)
            else:
                phone.close()

        def start() -> MachClock:
            instruments = open_instruments(phone)
            instruments.on_row = _in_loop(loop, take)
            instruments.on_close = _in_loop(loop, lambda: rows.put_nowait(_END))
            clock = instruments.mach_clock()
            instruments.monitor(interval_ms)
            return clock

        try:
            with step("watch the app's memory", self._reach.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
                async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                    clock = await in_thread(start, phone.close)
                while (row := await rows.get()) is not _END:
                    reading = reading_of(row, pid, clock)
                    if reading is not None:
                        yield reading
                raise ConnectionError("the connection broke, or its readings were not taken")
        finally:
            phone.close()

    async def _do(self, work: Callable[[Instruments], _Value]) -> _Value:
        """One after the other on one connection, opened on first use and again once it has broken."""
        async with self._turn:
            return await self._ask(await self._ready(), work)

    async def _ask(self, held: _Held, work: Callable[[Instruments], _Value]) -> _Value:
        try:
            return await in_thread(lambda: work(held.instruments), held.phone.close)
        except BaseException:
            # an answer may still be under way: cheaper to begin anew than to find out
            self.close()
            raise

    async def _ready(self) -> _Held:
        if self._held is not None and not self._held.instruments.ended:
            return self._held
        self.close()
        loop = asyncio.get_running_loop()
        phone = self._reach.phone()
        ends: dict[int, asyncio.Future[str]] = {}

        def start() -> Instruments:
            instruments = open_instruments(phone)
            instruments.on_end = _in_loop(loop, lambda pid, words: _settle(ends, pid, words))
            instruments.on_close = _in_loop(loop, lambda: _forget(ends))
            return instruments

        try:
            self._held = _Held(phone, await in_thread(start, phone.close), ends)
        except BaseException:
            phone.close()
            raise
        return self._held

    def close(self) -> None:
        """Lets the connection go; the next step opens one again."""
        held, self._held = self._held, None
        if held is not None:
            held.phone.close()
            _forget(held.ends)


def _settle(ends: dict[int, asyncio.Future[str]], pid: int, words: str) -> None:
    end = ends.get(pid)
    if end is not None and not end.done():
        end.set_result(words)


def _forget(ends: dict[int, asyncio.Future[str]]) -> None:
    for end in ends.values():
        end.cancel()


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object]) -> Callable[..., None]:
    """`call`, to be called from another thread."""

    def from_thread(*arguments: object) -> None:
        # a closed loop: nobody listens any more
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(call, *arguments)

    return from_thread

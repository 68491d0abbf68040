"""The phone of a process, driven in a thread with an event loop of its own: gigabytes that are pushed, digested or read
back never keep the process's connections to the hub from answering.

A virtual phone is started once and kept. A physical one is leased when a trial comes, and let go some time after the
last, so that a person on this host gets it between trials.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.bench.listener import Listener
from harness.core.errors import HarnessError
from harness.core.phone import ByUdid, DeviceWord, PhoneFacts, Virtual, with_settings
from harness.device.lease import Tell
from harness.device.registry import ReservedPhone, reserve_phone
from harness.store.database import ResultStore

if TYPE_CHECKING:
    from harness.bench.shared_phone import SharedPhone, Turn
    from harness.core.record import TrialRecord

LINGER_S = 20.0
"""A physical phone stays leased so long after a trial, for the next one."""
TURN_S = 10.0
"""One that was ours for longer is let go for an instant before the next trial: a person may wait for it."""
INSTANT_S = 0.3
"""Three looks of somebody who waits (`lease.POLL_S`)."""
CLOSE_LIMIT_S = 20.0

_Value = TypeVar("_Value")


class NotHad(HarnessError):
    """The phone could not be had or opened: no attempt was made."""

    def __init__(self, cause: HarnessError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class PhoneTurns:
    """All methods are coroutines of the phone's loop, one at a time."""

    def __init__(
        self, word: ByUdid | Virtual, transport: str, store: ResultStore, host_name: str | None = None
    ) -> None:
        """`host_name`: for the records; None: the machine's own."""
        self._word = word
        self._as_started: DeviceWord | None = None
        self._transport = transport
        """Where a run asks for none."""
        self._as_opened: tuple[DeviceWord, str] | None = None
        self._store = store
        self._host_name = host_name
        self.listener = Listener()
        """Set before the first trial."""
        self._ours = AsyncExitStack()
        """The virtual phone, or the lease."""
        self._reserved: ReservedPhone | None = None
        self._leased_s = 0.0
        self._opened = AsyncExitStack()
        self._shared: SharedPhone | None = None

    @property
    def holds_lease(self) -> bool:
        """Whether a physical phone is ours just now."""
        return self._reserved is not None and isinstance(self._word, ByUdid)

    async def who(self) -> PhoneFacts:
        """Asks the phone, without pairing; starts a virtual one. Raises StepError, UsageError, DeviceError."""
        from harness.device.pymobiledevice3_ import glance

        if isinstance(self._word, ByUdid):
            return await glance(self._word.udid)
        reserved = await self._reserve(self._word)
        return await glance(reserved.udid, reserved.usbmux_address)

    async def run(self, turn: Turn, settings: Mapping[str, str], tell: Tell) -> TrialRecord:
        """The trial's record; `settings` are its suite's for a virtual phone.

        Raises NotHad, and what `SharedPhone.run` does.
        """
        transport = self._transport if turn.options.transport == "auto" else turn.options.transport
        shared = await self._open(with_settings(self._word, settings), transport, tell)
        try:
            record = await shared.run(turn)
        except BaseException:
            await self._close_phone()
            raise
        if record.outcome_family in ("device", "host"):
            # what is known of it and of its connections may be wrong from now on
            await self._close_phone()
        return record

    async def examine(self, runner: str, tell: Tell) -> tuple[bool, str]:
        """Whether `doctor` finds it well, and in words what it found. Raises NotHad."""
        from harness.device.doctor import STEPS, Checkup, Patient, Verdict, walk

        await self._close_phone()
        try:
            reserved = await self._reserve(self._word)
        except HarnessError as error:
            raise NotHad(error) from error
        checkup = Checkup()
        with tempfile.TemporaryDirectory(prefix="harness-doctor-") as scratch:
            patient = Patient(
                self._word, runner=runner, transport=self._transport, lease_wait_s=0.0, tell=tell, scratch=Path(scratch)
            )
            # it is ours already
            patient.take(reserved)
            async with patient:
                async for _report in walk(STEPS, patient, checkup, patient.still_there):
                    pass
        failed = [f"{one.name}: {one.text}" for one in checkup.reports if one.verdict is Verdict.FAILED]
        return checkup.healthy, "; ".join(failed) or f"{len(checkup.reports)} steps, none failed"

    async def let_go(self) -> None:
        """Closes the phone, and the lease of a physical one."""
        await self._close_phone()
        if isinstance(self._word, ByUdid):
            await self._give_back()

    async def close(self) -> None:
        """The same, and a virtual phone ends."""
        await self._close_phone()
        await self._give_back()

    async def _open(self, word: DeviceWord, library: str, tell: Tell) -> SharedPhone:
        from harness.bench.shared_phone import SharedPhone

        if self._as_opened != (word, library):
            await self._close_phone()
        try:
            reserved = await self._reserve(word)
            if self._shared is not None:
                return self._shared
            transport = await reserved.open(transport=library, tell=tell)
        except HarnessError as error:
            # a virtual phone that has died is started anew at the next try
            await self.close()
            raise NotHad(error) from error
        self._as_opened = (word, library)
        self._opened.push_async_callback(transport.close)
        self._shared = SharedPhone(transport, self._store, self.listener, self._host_name)
        return self._shared

    async def _reserve(self, word: DeviceWord) -> ReservedPhone:
        """Ours from now on. A virtual phone that runs with other settings is started anew."""
        now_s = asyncio.get_running_loop().time()
        if self._reserved is not None and word == self._as_started:
            if isinstance(word, Virtual) or now_s - self._leased_s < TURN_S:
                return self._reserved
            await self._give_back()
            await asyncio.sleep(INSTANT_S)
        else:
            await self._give_back()
        self._reserved = await self._ours.enter_async_context(reserve_phone(word))
        self._as_started, self._leased_s = word, now_s
        return self._reserved

    async def _give_back(self) -> None:
        self._reserved = self._as_started = None
        ours, self._ours = self._ours, AsyncExitStack()
        await ours.aclose()

    async def _close_phone(self) -> None:
        self._shared = self._as_opened = None
        opened, self._opened = self._opened, AsyncExitStack()
        with suppress(HarnessError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await opened.aclose()


class PhoneThread:
    """Does what it is asked on the phone, one thing after another."""

    def __init__(self, turns: PhoneTurns) -> None:
        self.turns = turns
        self._loop = asyncio.new_event_loop()
        self._one_at_a_time = asyncio.Lock()
        self._under_way: asyncio.Task[Any] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._kept: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._serve, name="phone", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def ask(self, work: Callable[[PhoneTurns], Awaitable[_Value]]) -> Future[_Value]:
        """Begins it once what was asked before has ended."""
        return asyncio.run_coroutine_threadsafe(self._in_turn(work), self._loop)

    async def _in_turn(self, work: Callable[[PhoneTurns], Awaitable[_Value]]) -> _Value:
        async with self._one_at_a_time:
            if self._linger is not None:
                self._linger.cancel()
            # a task of its own, so that it can be cut off and still bring its evidence home before we answer
            task: asyncio.Task[_Value] = self._loop.create_task(_coroutine(work(self.turns)))
            self._under_way = task
            try:
                return await task
            except asyncio.CancelledError:
                raise CutOff("cut off: this process is asked to end") from None
            finally:
                self._under_way = None
                self._linger = self._loop.call_later(LINGER_S, self._let_go_soon)

    def _let_go_soon(self) -> None:
        async def let_go() -> None:
            async with self._one_at_a_time:
                await self.turns.let_go()

        task = self._loop.create_task(let_go())
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def cut(self) -> None:
        """What is under way is ended: the app on the phone, the record kept as cut short."""

        def cancel() -> None:
            if self._under_way is not None:
                self._under_way.cancel()

        self._loop.call_soon_threadsafe(cancel)

    def close(self, limit_s: float) -> None:
        """Closes the phone once what is under way has ended, or the time is up."""
        closing = self.ask(PhoneTurns.close)
        with suppress(Exception):
            closing.result(limit_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)


class CutOff(HarnessError):
    """What was under way on the phone was ended from outside."""


async def _coroutine(work: Awaitable[_Value]) -> _Value:
    return await work

"""Is the phone on its cable? Looked at all through a trial, so that every cut is known with its times.

A cut breaks most connections at once, yet not every library notices; whoever waits for the phone asks here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from harness.core.outcome import Outcome
from harness.core.telemetry import Cut
from harness.device.errors import REPLUG, BrokenConnection, StepError
from harness.device.interface import Transport
from harness.device.presence import wait_until_present

# One look is a question to usbmuxd on this machine, about 2 ms.
LOOK_EVERY_S = 0.1
# What a cut breaks breaks by itself within this time; what still waits then is ended here.
PATIENCE_S = 2.0
# How often a step is done at most, when the phone leaves in the middle of it.
MAX_TRIES = 60
# A step that failed sooner has met a broken connection, not a time limit.
FAST_S = 5.0
# A trial through which a cable hangs loose: the first cuts tell the story.
MAX_CUTS = 64

_Value = TypeVar("_Value")


def refusal(error: Exception) -> bool:
    """The phone itself said no, on a connection that was sound."""
    return (
        isinstance(error, StepError) and not isinstance(error, BrokenConnection) and error.outcome is Outcome.NOT_READY
    )


def was_away(error: Exception) -> bool:
    """Somebody has met the phone's absence: a pull that is over between two looks is a cut too."""
    return isinstance(error, StepError) and error.outcome is Outcome.LOST


class CableWatch:
    """An async context manager; `cuts` are those seen so far, the last without `back_ns` while the phone is away."""

    def __init__(self, transport: Transport, grace_s: float) -> None:
        self._transport = transport
        self._grace_s = grace_s
        self.cuts: list[Cut] = []
        self.count = 0
        """Of all cuts, also beyond those that are kept."""
        self._given_up = False
        self._present = True
        self._cut = asyncio.Event()
        """Of the next cut."""
        self._stop = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watch = asyncio.create_task(self._look_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            # let finish, not cancelled: a library leaves a socket behind when it is cancelled half-way; a look is short
            self._stop.set()
            await asyncio.wait([self._watch])

    async def wait_back(self) -> bool:
        """True once the phone is there, now or within the grace time; that is granted once, then only looked."""
        back = await wait_until_present(self._transport, 0.0 if self._given_up else self._grace_s)
        self._given_up = not back
        return back

    def wait_gone(self) -> Coroutine[Any, Any, bool]:
        """Returns at the next cut, counted from the call and not from when it is first awaited."""
        return self._cut.wait()

    async def through(self, name: str, step: Coroutine[Any, Any, _Value]) -> _Value:
        """The step's value; StepError (lost) when the phone leaves and the step does not end by itself soon after."""
        working = asyncio.ensure_future(step)
        gone = asyncio.create_task(self.wait_gone())
        try:
            await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait({working}, timeout=PATIENCE_S)
            if working.done():
                return working.result()
            raise StepError(name, self._transport.facts.udid, "the phone was unplugged", REPLUG, Outcome.LOST)
        finally:
            for task in (working, gone):
                task.cancel()
            await asyncio.wait({working, gone})

    async def persist(self, step: Callable[[], Awaitable[_Value]], *, once_more: bool = True) -> _Value:
        """The step's value; after a cut it is done again once the phone is back.

        Without a cut in sight it is done once more at most (`once_more`), if it failed fast and the phone did not
        refuse: a connection may have broken between two looks. Raises what the last try raised.
        """
        for number in range(1, MAX_TRIES + 1):
            cuts, began_s = self.count, time.monotonic()
            try:
                return await step()
            except (StepError, OSError) as error:
                refused = refusal(error)
                fast = time.monotonic() - began_s < FAST_S
                there = await self.wait_back()
                again = self.count > cuts or was_away(error) or (once_more and number == 1 and fast and not refused)
                if number == MAX_TRIES or not there or not again:
                    raise
            await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError("the last try returns or raises")

    async def _look_on(self) -> None:
        while not self._stop.is_set():
            # usbmuxd itself may go and come with the cable
            present = False
            with suppress(StepError):
                present = await self._transport.is_present()
            self._note(present)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._stop.wait()

    def _note(self, present: bool) -> None:
        if present == self._present:
            return
        self._present = present
        now_ns = time.monotonic_ns()
        if present:
            if self.count <= MAX_CUTS:
                self.cuts[-1] = Cut(self.cuts[-1].gone_ns, now_ns)
            return
        self.count += 1
        if self.count <= MAX_CUTS:
            self.cuts.append(Cut(now_ns))
        self._cut.set()
        self._cut = asyncio.Event()

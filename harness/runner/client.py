"""The host's end over a pair of asyncio streams: hello, clock, run, and an ear for silence.

Whatever carries the bytes (usbmux to a phone) is opened by the device layer and handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from harness.core.errors import DeviceError
from harness.core.job import Job
from harness.runner.messages import ErrorEvent, Event, HelloEvent, PongEvent, ResultEvent
from harness.runner.session import Session

HELLO_LIMIT_S = 10.0
# The runner sends a heartbeat every second; this many seconds without anything is silence.
LIVENESS_LIMIT_S = 10.0
CLOCK_PINGS = 10
READ_BYTES = 256 * 1024


class RunnerGone(DeviceError):
    """The connection to the runner ended: the app died, the cable was pulled, or the phone is off."""


class RunnerSilent(DeviceError):
    """The connection stands but nothing came within the liveness limit."""


@dataclass(frozen=True)
class Clock:
    """`offset_ns` added to the host's monotonic clock gives the app's; known to within `round_trip_ns` / 2."""

    offset_ns: int
    round_trip_ns: int


def ends_trial(event: Event) -> bool:
    """A result, or an error that says which trial it has ended: an answer to a bad command ends none."""
    return isinstance(event, ResultEvent) or (isinstance(event, ErrorEvent) and event.trial is not None)


class RunnerClient:
    """Drives one trial; `seen` holds every event that came, in order of arrival."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._session = Session()
        self._waiting: deque[Event] = deque()
        self.seen: list[Event] = []

    async def hello(self) -> HelloEvent:
        """Introduces the host; raises RunnerGone or RunnerSilent, DeviceError when the runner refuses."""
        await self._send(self._session.hello(time.monotonic_ns()))
        while True:
            event = await self._next_event(HELLO_LIMIT_S)
            if isinstance(event, HelloEvent):
                return event
            if isinstance(event, ErrorEvent):
                raise DeviceError(f"the runner refused the greeting: {event.kind}: {event.message}")

    async def measure_clock(self, pings: int = CLOCK_PINGS) -> Clock:
        """The smallest round trip of `pings` gives the offset (the app's clock is read in its middle)."""
        clocks = [await self._ping() for _ in range(pings)]
        return min(clocks, key=lambda clock: clock.round_trip_ns)

    async def _ping(self) -> Clock:
        sent_ns = time.monotonic_ns()
        await self._send(self._session.ping(sent_ns))
        while True:
            event = await self._next_event(HELLO_LIMIT_S)
            if isinstance(event, PongEvent) and event.host_t == sent_ns:
                received_ns = time.monotonic_ns()
                return Clock(event.t - (sent_ns + received_ns) // 2, received_ns - sent_ns)

    async def run(self, trial: str, job: Job, liveness_limit_s: float = LIVENESS_LIMIT_S) -> AsyncIterator[Event]:
        """Starts the trial and yields its events up to and with `result` or `error`.

        Raises RunnerGone when the connection ends before, RunnerSilent when nothing comes for `liveness_limit_s`.
        """
        await self._send(self._session.run(trial, job))
        async for event in self._until_end(liveness_limit_s):
            yield event

    async def _until_end(self, liveness_limit_s: float) -> AsyncIterator[Event]:
        while True:
            event = await self._next_event(liveness_limit_s)
            yield event
            if ends_trial(event):
                return

    async def resume(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        liveness_limit_s: float = LIVENESS_LIMIT_S,
    ) -> AsyncIterator[Event]:
        """Goes on over a new connection to the same process, from the first event that did not come."""
        await self.close()
        self._reader, self._writer = reader, writer
        self._waiting.clear()
        await self._send(self._session.reconnected())
        async for event in self._until_end(liveness_limit_s):
            yield event

    async def cancel(self) -> None:
        await self._send(self._session.cancel())

    async def bye(self) -> None:
        """Lets the app end; a connection that is gone already is fine."""
        with contextlib.suppress(RunnerGone):
            await self._send(self._session.bye())

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _send(self, line: bytes) -> None:
        try:
            self._writer.write(line)
            await self._writer.drain()
        except OSError as error:
            raise RunnerGone(f"cannot reach the runner: {error}") from error

    async def _next_event(self, limit_s: float) -> Event:
        while not self._waiting:
            self._waiting.extend(self._session.receive_data(await self._receive(limit_s)))
        event = self._waiting.popleft()
        self.seen.append(event)
        return event

    async def _receive(self, limit_s: float) -> bytes:
        try:
            async with asyncio.timeout(limit_s):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            raise RunnerSilent(f"no event from the runner for {limit_s:g} s") from None
        except OSError as error:
            raise RunnerGone(f"the connection to the runner broke: {error}") from error
        if not data:
            raise RunnerGone("the runner closed the connection")
        return data

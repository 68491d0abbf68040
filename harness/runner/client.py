"""The host's end over a pair of asyncio streams: hello, clock, run, and an ear for silence.

Whatever carries the bytes (usbmux to a phone) is opened by the device layer and handed in. Every wait has a limit
that no event of the runner's can push out: only a phase, a token or the backend's name count as getting on.
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
from harness.runner.messages import (
    BackendEvent,
    ErrorEvent,
    Event,
    HelloEvent,
    PhaseEvent,
    PongEvent,
    ResultEvent,
    TokenEvent,
)
from harness.runner.session import Session

HELLO_LIMIT_S = 10.0
# The runner sends a heartbeat every second; this many seconds without anything is silence.
LIVENESS_LIMIT_S = 10.0
CLOSE_LIMIT_S = 2.0
CLOCK_PINGS = 10
READ_BYTES = 256 * 1024
# Half an hour at 1 kHz; each event is held until the trial's end.
MAX_EVENTS = 2_000_000

_PROGRESS = (PhaseEvent, TokenEvent, BackendEvent)


class RunnerGone(DeviceError):
    """The connection to the runner ended: the app died, the cable was pulled, or the phone is off."""


class RunnerSilent(DeviceError):
    """The connection stands but the runner does not get on within the limit."""


@dataclass(frozen=True)
class Clock:
    """`offset_ns` added to the host's monotonic clock gives the app's; known to within `round_trip_ns` / 2."""

    offset_ns: int
    round_trip_ns: int


@dataclass(frozen=True)
class Limits:
    """How long the host waits in a trial before it calls the runner silent."""

    progress_s: float
    """Without a new phase, token, backend, result or error."""
    liveness_s: float = LIVENESS_LIMIT_S
    """Without any event at all."""


def ends_trial(event: Event) -> bool:
    """A result, or an error that says which trial it has ended: an answer to a bad command ends none."""
    return isinstance(event, ResultEvent) or (isinstance(event, ErrorEvent) and event.trial is not None)


def _still_before(deadline_s: float) -> None:
    if time.monotonic() > deadline_s:
        raise RunnerSilent("the runner sends events but does not get on")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await writer.wait_closed()


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
        deadline_s = time.monotonic() + HELLO_LIMIT_S
        while True:
            event = await self._next_event(deadline_s)
            if isinstance(event, HelloEvent):
                return event
            if isinstance(event, ErrorEvent):
                raise DeviceError(f"the runner refused the greeting: {event.kind}: {event.message}")
            _still_before(deadline_s)

    async def measure_clock(self, pings: int = CLOCK_PINGS) -> Clock:
        """The smallest round trip of `pings` gives the offset (the app's clock is read in its middle)."""
        deadline_s = time.monotonic() + HELLO_LIMIT_S
        clocks = [await self._ping(deadline_s) for _ in range(pings)]
        return min(clocks, key=lambda clock: clock.round_trip_ns)

    async def _ping(self, deadline_s: float) -> Clock:
        sent_ns = time.monotonic_ns()
        await self._send(self._session.ping(sent_ns))
        while True:
            event = await self._next_event(deadline_s)
            if isinstance(event, PongEvent) and event.host_t == sent_ns:
                received_ns = time.monotonic_ns()
                return Clock(event.t - (sent_ns + received_ns) // 2, received_ns - sent_ns)
            _still_before(deadline_s)

    async def run(self, trial: str, job: Job, limits: Limits) -> AsyncIterator[Event]:
        """Starts the trial and yields its events up to and with the one that ends it.

        Raises RunnerGone when the connection ends before, RunnerSilent beyond the limits.
        """
        if (catch_up := self._session.catch_up()) is not None:
            await self._send(catch_up)
        await self._send(self._session.run(trial, job))
        async for event in self._until_end(limits):
            yield event

    def resume(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trial: str, job: Job, limits: Limits
    ) -> AsyncIterator[Event]:
        """Goes on over a new connection to the same process, from the first event that did not come.

        A `run` that the old connection did not deliver is sent again. The new connection is the client's from this call
        on, also if nobody ever asks for the first event.
        """
        former, self._reader, self._writer = self._writer, reader, writer
        return self._resumed(former, trial, job, limits)

    async def _resumed(
        self, former: asyncio.StreamWriter, trial: str, job: Job, limits: Limits
    ) -> AsyncIterator[Event]:
        await _close(former)
        self._waiting.clear()
        from_here = self._session.reconnected()
        hello = await self.hello()
        await self._send(self._session.run(trial, job) if hello.state == "idle" else from_here)
        async for event in self._until_end(limits):
            yield event

    async def bye(self) -> None:
        """Lets the app end; a connection that is gone already is fine."""
        with contextlib.suppress(RunnerGone):
            await self._send(self._session.bye())

    async def close(self) -> None:
        await _close(self._writer)

    async def _until_end(self, limits: Limits) -> AsyncIterator[Event]:
        progress_s = time.monotonic()
        while True:
            event = await self._next_event(min(time.monotonic() + limits.liveness_s, progress_s + limits.progress_s))
            yield event
            if ends_trial(event):
                return
            if isinstance(event, _PROGRESS):
                progress_s = time.monotonic()
            _still_before(progress_s + limits.progress_s)

    async def _send(self, line: bytes) -> None:
        try:
            self._writer.write(line)
            await self._writer.drain()
        except OSError as error:
            raise RunnerGone(f"cannot reach the runner: {error}") from error

    async def _next_event(self, deadline_s: float) -> Event:
        while not self._waiting:
            # after nonsense nothing more is waited for: the session raises
            data = b"" if self._session.broken else await self._receive(deadline_s)
            self._waiting.extend(self._session.receive_data(data))
        event = self._waiting.popleft()
        if len(self.seen) >= MAX_EVENTS:
            raise DeviceError(f"the runner sent more than {MAX_EVENTS} events; ask for fewer samples (sample_hz)")
        self.seen.append(event)
        return event

    async def _receive(self, deadline_s: float) -> bytes:
        try:
            async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            raise RunnerSilent("the runner is silent") from None
        except OSError as error:
            raise RunnerGone(f"the connection to the runner broke: {error}") from error
        if not data:
            raise RunnerGone("the runner closed the connection")
        return data

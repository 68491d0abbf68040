"""The instrument `processcontrol`: launches apps, signals them, and tells of their output and their ends.

Output goes to the channel that launched the app. The end goes to channels that observe the pid; how a real phone
answers a wish to observe a process that is already gone is not known, here it is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.virtual.mach_time import mach_absolute_time
from harness.virtual.process import LaunchRefused, NoSuchProcess, ProcessEnded, ProcessOutput
from harness.virtual.services.instrument import (
    Channel,
    Refused,
    Selector,
    dictionary,
    no_such_process,
    text,
    whole_number,
)
from harness.virtual.stream import StreamClosed

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

IDENTIFIER = "com.apple.instruments.server.services.processcontrol"
LAUNCH_DOMAIN = "com.apple.dt.deviceprocesscontrolservice"
KILL_SIGNAL = 9
SIGNALS = range(1, 32)
"""Darwin has 31 signals."""
MAXIMUM_WAITING_EVENTS = 4096
"""Lines and ends that wait for a slow client; output beyond it is dropped, and a line says so. Ends never are."""


class ProcessControl:
    """One open channel."""

    def __init__(self, channel: Channel, phone: Phone) -> None:
        self._channel = channel
        self._phone = phone
        self._launched: set[int] = set()
        self._observed: set[int] = set()
        self._launches: set[asyncio.Task[int]] = set()
        self._held: list[ProcessOutput | ProcessEnded] = []
        self._events: asyncio.Queue[ProcessOutput | ProcessEnded] = asyncio.Queue()
        self._dropped_lines = 0
        self._unsubscribe = phone.processes.subscribe(self._on_event)
        self._teller = asyncio.create_task(self._tell())
        self.selectors: Mapping[str, Selector] = {
            "launchSuspendedProcessWithDevicePath:bundleIdentifier:environment:arguments:options:": self._launch,
            "startObservingPid:": self._start_observing,
            "stopObservingPid:": self._stop_observing,
            "killPid:": self._kill,
            "sendSignal:toPid:": self._signal,
            "processIdentifierForBundleIdentifier:": self._pid_of_bundle,
        }

    async def close(self) -> None:
        """Ends the callbacks; apps go on running, as on a phone."""
        self._unsubscribe()
        self._teller.cancel()
        await asyncio.gather(self._teller, *self._launches, return_exceptions=True)

    async def _launch(
        self, device_path: object, bundle_id: object, environment: object, arguments: object, options: object
    ) -> object:
        identifier = text(bundle_id, "the bundle identifier")
        if arguments is not None and not isinstance(arguments, list):
            raise Refused(f"the arguments must be an array, got {type(arguments).__name__}")
        variables = dictionary(environment, "the environment")
        wishes = dictionary(options, "the options")
        if wishes.get("StartSuspendedKey"):
            raise Refused("starting suspended needs a debugger, which this phone does not have", domain=LAUNCH_DOMAIN)
        start = self._phone.processes.launch(
            identifier,
            [text(argument, "an argument") for argument in arguments or []],
            {text(k, "a variable's name"): text(v, f"the variable {k}") for k, v in variables.items()},
            kill_existing=bool(wishes.get("KillExisting")),
        )
        task = asyncio.create_task(start)
        self._launches.add(task)
        try:
            # shielded: a launch that has begun goes on when the client hangs up, half of one would leak a process
            pid = await asyncio.shield(task)
            self._launched.add(pid)
        except LaunchRefused as error:
            raise Refused(f"Request to launch {identifier} failed: {error}", domain=LAUNCH_DOMAIN) from error
        finally:
            if task.done():
                self._launches.discard(task)
            self._release_held()
        return pid

    async def _start_observing(self, pid: object) -> object:
        wanted = whole_number(pid, "the pid")
        if not self._phone.processes.is_running(wanted):
            raise no_such_process(wanted)
        self._observed.add(wanted)
        return None

    async def _stop_observing(self, pid: object) -> object:
        self._observed.discard(whole_number(pid, "the pid"))
        return None

    async def _kill(self, pid: object) -> object:
        return await self._signal(KILL_SIGNAL, pid)

    async def _signal(self, signal: object, pid: object) -> object:
        number, wanted = whole_number(signal, "the signal"), whole_number(pid, "the pid")
        if number not in SIGNALS:
            raise Refused(f"there is no signal {number}")
        try:
            self._phone.processes.kill(wanted, number)
        except NoSuchProcess as error:
            raise no_such_process(wanted) from error
        return None

    async def _pid_of_bundle(self, bundle_id: object) -> object:
        wanted = text(bundle_id, "the bundle identifier")
        return next((p.pid for p in self._phone.processes.listing() if p.bundle_id == wanted), 0)

    # --- the way back

    def _on_event(self, event: ProcessOutput | ProcessEnded) -> None:
        if self._launches:
            # an app may speak, or die, before `launch` has told us its pid
            self._hold(event)
            return
        if isinstance(event, ProcessOutput):
            if event.pid in self._launched and event.text:
                self._enqueue(event)
            return
        self._launched.discard(event.pid)
        if event.pid in self._observed:
            self._observed.discard(event.pid)
            self._enqueue(event)

    def _hold(self, event: ProcessOutput | ProcessEnded) -> None:
        if isinstance(event, ProcessOutput) and len(self._held) >= MAXIMUM_WAITING_EVENTS:
            self._dropped_lines += 1
            return
        self._held.append(event)

    def _release_held(self) -> None:
        if self._launches:
            return
        held, self._held = self._held, []
        for event in held:
            self._on_event(event)

    def _enqueue(self, event: ProcessOutput | ProcessEnded) -> None:
        if isinstance(event, ProcessOutput) and self._events.qsize() >= MAXIMUM_WAITING_EVENTS:
            self._dropped_lines += 1
            return
        self._events.put_nowait(event)

    async def _tell(self) -> None:
        with contextlib.suppress(StreamClosed):
            while True:
                event = await self._events.get()
                if isinstance(event, ProcessOutput):
                    await self._tell_output(event.pid, event.text)
                    continue
                if self._dropped_lines:
                    await self._tell_output(event.pid, "")
                await self._channel.call(
                    "processWithPID:terminatedWithExitCode:orCrashingSignal:", event.pid, event.exit_code, event.signal
                )

    async def _tell_output(self, pid: int, output: str) -> None:
        if self._dropped_lines:
            output = f"[{self._dropped_lines} pieces of output dropped: the client was too slow]\n{output}"
            self._dropped_lines = 0
        await self._channel.call("outputReceived:fromProcess:atTime:", output, pid, mach_absolute_time())

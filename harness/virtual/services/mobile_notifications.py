"""The instrument `mobilenotifications`: tells when an app comes to the front or ends, and when memory gets short.

The keys are those of published recordings of phones. Two things are assumed: notifications go to the channel that
asked for them (recordings show them on channel 0 as well), and code 2 stands for a warning.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.virtual.events import AppEnded, AppLaunched, Event, MemoryWarned
from harness.virtual.mach_time import mach_absolute_time
from harness.virtual.services.instrument import Channel, Refused, Selector
from harness.virtual.stream import StreamClosed
from harness.virtual.wire.keyed_archive import date

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

IDENTIFIER = "com.apple.instruments.server.services.mobilenotifications"
TERMINATED, FOREGROUND = 1, 8
_DESCRIPTIONS = {TERMINATED: "Terminated", FOREGROUND: "Foreground Running"}
MEMORY_WARNING_CODE = 2
NO_PROCESS = -1
"""Memory notifications of recordings name no process."""
MAXIMUM_WAITING = 1024
"""Notifications that wait for a slow client; beyond it the oldest give way."""

_Call = tuple[str, dict[str, object]]


class MobileNotifications:
    """One open channel."""

    def __init__(self, channel: Channel, phone: Phone) -> None:
        self._channel = channel
        self._phone = phone
        self._waiting: asyncio.Queue[_Call] = asyncio.Queue(MAXIMUM_WAITING)
        self._names = {info.pid: info.name for info in phone.processes.listing()}
        self._apps_wanted = False
        self._memory_wanted = False
        self._unsubscribes: list[Callable[[], None]] = [
            phone.events.subscribe(kind, self._on_event) for kind in (AppLaunched, AppEnded, MemoryWarned)
        ]
        self._teller = asyncio.create_task(self._tell())
        self.selectors: Mapping[str, Selector] = {
            "setApplicationStateNotificationsEnabled:": self._set_apps,
            "setMemoryNotificationsEnabled:": self._set_memory,
        }

    async def close(self) -> None:
        """Ends the notifications."""
        for unsubscribe in self._unsubscribes:
            unsubscribe()
        self._teller.cancel()
        await asyncio.gather(self._teller, return_exceptions=True)

    async def _set_apps(self, enabled: object) -> object:
        self._apps_wanted = _switch(enabled)
        return None

    async def _set_memory(self, enabled: object) -> object:
        self._memory_wanted = _switch(enabled)
        return None

    def _on_event(self, event: Event) -> None:
        if isinstance(event, AppLaunched):
            self._names.update((info.pid, info.name) for info in self._phone.processes.listing())
            self._put_app(event.pid, event.bundle_id, FOREGROUND)
        elif isinstance(event, AppEnded):
            self._put_app(event.pid, event.bundle_id, TERMINATED)
            self._names.pop(event.pid, None)
        elif isinstance(event, MemoryWarned) and self._memory_wanted:
            self._put("memoryLevelNotification:", {"code": MEMORY_WARNING_CODE, "pid": NO_PROCESS})

    def _put_app(self, pid: int, bundle_id: str, state: int) -> None:
        if not self._apps_wanted:
            return
        name = self._names.get(pid, bundle_id)
        description = _DESCRIPTIONS[state]
        words: dict[str, object] = {
            "appName": name,
            "displayID": bundle_id,
            "execName": name,
            "pid": pid,
            "state": state,
            "state_description": description,
            "elevated_state": state,
            "elevated_state_description": description,
        }
        self._put("applicationStateNotification:", words)

    def _put(self, selector: str, words: dict[str, object]) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        stamps = {"mach_absolute_time": mach_absolute_time(), "timestamp": date(self._phone.state.unix_time())}
        self._waiting.put_nowait((selector, {**words, **stamps}))

    async def _tell(self) -> None:
        with contextlib.suppress(StreamClosed):
            while True:
                selector, words = await self._waiting.get()
                await self._channel.call(selector, words)


def _switch(value: object) -> bool:
    if not isinstance(value, (bool, int)):
        raise Refused(f"the switch must be true or false, got {type(value).__name__}")
    return bool(value)

"""The phone's system log as one client sees it: what apps print and what the phone notices, line by line, from now on.

EMULATED: a real phone's log has what apps say through os_log and NSLog, and far more of the system itself; here it is
standard output and standard error, as long as the app has not pointed them elsewhere (the runner app keeps standard
error for itself during a trial). A client that reads slowly loses lines and is told how many; memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from harness.virtual.app_process import ProcessEnded, ProcessOutput
from harness.virtual.events import AppLaunched, Event, InstallRequested, MemoryWarned, NotificationPosted

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

QUEUE_LINES = 1000
MESSAGE_LIMIT_CHARS = 1024
"""Longer lines are cut into pieces of this length, so that the queue's memory has a limit."""
_DAEMON_PATHS = {
    "SpringBoard": "/System/Library/CoreServices/SpringBoard.app/SpringBoard",
    "installd": "/usr/libexec/installd",
    "logd": "/usr/libexec/logd",
    "notifyd": "/usr/sbin/notifyd",
}
# of daemons that the phone's process list does not have
_UNLISTED_PIDS = {"installd": 71, "notifyd": 44}


class Level(IntEnum):
    """As os_trace_relay numbers them."""

    NOTICE = 0x00
    INFO = 0x01
    DEBUG = 0x02
    ERROR = 0x10
    FAULT = 0x11


@dataclass(frozen=True)
class LogLine:
    """One line. `unix_time_s` is by the phone's own clock; `message` has no line end and no NUL."""

    unix_time_s: float
    pid: int
    process: str
    path: str
    level: Level
    message: str


class LogTap:
    """One client's view, from its making until `close`. Belongs to the phone's event loop."""

    def __init__(self, phone: Phone, queue_lines: int = QUEUE_LINES) -> None:
        self._phone = phone
        self._queue: deque[LogLine] = deque()
        self._queue_lines = queue_lines
        self._lost = 0
        self._filled = asyncio.Event()
        # by pid and descriptor: what comes on the two is never one line
        self._unfinished: dict[tuple[int, bool], str] = {}
        self._known = {info.pid: (info.name, info.device_path) for info in phone.processes.listing()}
        self._daemons = {name: pid for pid, (name, _) in self._known.items()} | _UNLISTED_PIDS
        kinds: tuple[type[Event], ...] = (AppLaunched, MemoryWarned, InstallRequested, NotificationPosted)
        self._ends = [phone.events.subscribe(kind, self._notice) for kind in kinds]
        self._ends.append(phone.processes.subscribe(self._hear))

    def close(self) -> None:
        """Ends the view. Allowed twice."""
        while self._ends:
            self._ends.pop()()

    async def next_line(self) -> LogLine:
        """The next line; waits for it."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return self._of_daemon("logd", f"{lost} lines are lost: this client reads too slowly", Level.FAULT)
        return self._queue.popleft()

    def _put(self, line: LogLine) -> None:
        if len(self._queue) >= self._queue_lines:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(line)
        self._filled.set()

    def _of_daemon(self, name: str, message: str, level: Level = Level.NOTICE) -> LogLine:
        pid = self._daemons.get(name, 0)
        return LogLine(self._phone.state.unix_time(), pid, name, _DAEMON_PATHS[name], level, message)

    def _notice(self, event: Event) -> None:
        match event:
            case AppLaunched(pid, bundle_id):
                self._put(self._of_daemon("SpringBoard", f"[app<{bundle_id}>:{pid}] launched"))
            case MemoryWarned(pid):
                self._put(self._of_daemon("SpringBoard", f"[{self._name(pid)}:{pid}] memory warning", Level.ERROR))
            case InstallRequested():
                self._put(self._of_daemon("installd", "install requested"))
            case NotificationPosted(name):
                self._put(self._of_daemon("notifyd", f"posted {name[:MESSAGE_LIMIT_CHARS]}", Level.DEBUG))
            case _:
                pass

    def _hear(self, event: ProcessOutput | ProcessEnded) -> None:
        if isinstance(event, ProcessOutput):
            source = (event.pid, event.is_error)
            *whole, rest = (self._unfinished.pop(source, "") + event.text).split("\n")
            while len(rest) >= MESSAGE_LIMIT_CHARS:
                whole.append(rest[:MESSAGE_LIMIT_CHARS])
                rest = rest[MESSAGE_LIMIT_CHARS:]
            for text in whole:
                self._say(event.pid, text)
            if rest:
                self._unfinished[source] = rest
            return
        for is_error in (False, True):
            self._say(event.pid, self._unfinished.pop((event.pid, is_error), ""))
        how = f"signal {event.signal}" if event.signal is not None else f"exit code {event.exit_code}"
        name = self._name(event.pid)
        self._put(self._of_daemon("SpringBoard", f"[{name}:{event.pid}] ended with {how}"))
        self._known.pop(event.pid, None)

    def _say(self, pid: int, text: str) -> None:
        text = text.rstrip("\r").replace("\0", "\\0")
        if not text:
            return
        name = self._name(pid)
        path = self._known.get(pid, ("", ""))[1]
        for start in range(0, len(text), MESSAGE_LIMIT_CHARS):
            piece = text[start : start + MESSAGE_LIMIT_CHARS]
            self._put(LogLine(self._phone.state.unix_time(), pid, name, path, Level.NOTICE, piece))

    def _name(self, pid: int) -> str:
        if pid not in self._known:
            found = next((info for info in self._phone.processes.listing() if info.pid == pid), None)
            if found is None:
                return "app"
            self._known[pid] = (found.name, found.device_path)
        return self._known[pid][0]

"""What the phone tells a running app unasked, as ``notice`` events: memory warnings, thermal state, Low Power Mode.

A virtual phone sends its memory warning as SIGUSR1. The main thread is inside the engine for most of a trial, so no
Python handler would run there: the signal is blocked in every thread and one thread waits for it.
"""

from __future__ import annotations

import signal
import threading
import time

from .events import EventLog
from .system_state import SystemState

MEMORY_WARNING = signal.SIGUSR1
POLL_S = 0.5
"""How often the phone's state is looked at."""


def hold_memory_warnings() -> None:
    """Keep memory warnings for ``NoticeWatch``. Call it on the main thread before any other thread exists.

    The handler is never run. It is there because a phone warns only apps that catch the signal (SigCgt in /proc), and
    a blocked one does not count as caught.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {MEMORY_WARNING})
    signal.signal(MEMORY_WARNING, lambda number, frame: None)


class NoticeWatch:
    """A thread that turns what the phone says into events, for the rest of the process's life."""

    def __init__(self, events: EventLog, system: SystemState | None) -> None:
        self._events = events
        self._system = system
        self._untold_warnings = 0

    def start(self) -> None:
        """Begin; a warning that came since ``hold_memory_warnings`` is told first."""
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._wait_and_tell()
            except MemoryError:
                time.sleep(POLL_S)  # of all things after a memory warning; the warning is still to be told

    def _wait_and_tell(self) -> None:
        if not self._untold_warnings and signal.sigtimedwait({MEMORY_WARNING}, POLL_S) is not None:
            self._untold_warnings += 1
        if self._untold_warnings:
            self._events.emit("notice", kind="memory_warning", text=None)
            self._untold_warnings -= 1
        for change in [] if self._system is None else self._system.refresh():
            self._events.emit("notice", kind=change.kind, text=change.text)

"""Keeps what the engine writes to file descriptor 2: in a file that survives the process, and as ``log`` events.

C++ runtimes say their last words there ("terminating due to uncaught exception …") when no thread of ours runs any
more: the file has them, the events may not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.05
MAX_LINE_BYTES = 4096
MAX_LINES = 1000
"""Log events per trial; the file keeps everything."""
READ_BYTES = 64 * 1024
STDERR = 2

Emit = Callable[[str, bool], None]
"""Takes a line and whether it was cut."""


class StderrCapture:
    """Redirects file descriptor 2 to ``path`` for the rest of the process's life; reports its lines until stopped."""

    def __init__(self, path: Path, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._stop = threading.Event()
        self._held = b""
        self._cut = False
        self._lines = 0
        self._reader = -1
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)

    def start(self) -> None:
        """Redirect and begin to watch. Raises OSError."""
        writer = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.dup2(writer, STDERR)
        os.close(writer)
        self._reader = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._thread.start()

    def stop(self) -> None:
        """Report what is left and stop watching; the redirection stays, for what may still be said."""
        self._stop.set()
        self._thread.join()
        self._drain()
        if self._held or self._cut:
            self._line(b"")
        os.close(self._reader)

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self._drain()
            except MemoryError:
                continue  # the file still has it; try again when there may be memory

    def _drain(self) -> None:
        while data := os.read(self._reader, READ_BYTES):
            *whole, rest = data.split(b"\n")
            for line in whole:
                self._line(line)
            self._hold(rest)

    def _hold(self, data: bytes) -> None:
        self._cut = self._cut or len(self._held) + len(data) > MAX_LINE_BYTES
        self._held = (self._held + data)[:MAX_LINE_BYTES]

    def _line(self, end: bytes) -> None:
        self._hold(end)
        line, cut = self._held.decode("utf-8", "replace"), self._cut
        self._held, self._cut = b"", False
        self._lines += 1
        if not line and not cut:
            return
        if self._lines < MAX_LINES:
            self._emit(line, cut)
        elif self._lines == MAX_LINES:
            self._emit(f"(more than {MAX_LINES} lines: the rest is only in {self._path.name})", True)

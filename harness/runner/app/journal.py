"""The journal: every event of the process, on disk before it is sent, and the source from which it is sent.

One append-only file. It begins as ``process-<pid>.ndjson`` and takes the trial's name when the trial begins, so it
always starts at seq 1. Connections read it like ``tail -f`` (see connection.py): a slow or gone host costs no memory
and blocks nobody. It is not fsynced: it survives the death of the process, which is what it is for, not a power cut.

Writers must hold the event log's lock; readers need none.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .job import PROCESS_JOURNAL_PREFIX

INDEX_EVERY = 256
"""Events between two index entries: what a resume has to skip line by line at most."""
STALE_JOURNALS_KEPT = 8
"""Journals of processes that died before a trial, kept for the curious."""
OVERLAY_BYTES = 1 << 20
"""When the disk refuses, this much of the end is still kept in memory, so that the host can be told."""
READ_BYTES = 128 * 1024
"""One read holds at least one whole line."""


class Journal:
    """An append-only file of lines with a known number of the first line (1) and no gaps."""

    def __init__(self, directory: Path) -> None:
        """Create ``directory`` and the file in it. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        _remove_stale(directory)
        self.path = directory / f"{PROCESS_JOURNAL_PREFIX}{os.getpid()}.ndjson"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._pending = bytearray()
        self._in_file = 0
        self._overlay = bytearray()
        self._index: list[tuple[int, int]] = []
        self._grown = threading.Condition()
        self._sent = 0
        self.broken: OSError | None = None

    @property
    def end(self) -> int:
        """Offset after the last line that readers can see."""
        return self._in_file + len(self._overlay)

    def append(self, seq: int, line: bytes, *, flush: bool) -> None:
        """Add one line (newline included). With ``flush`` it and all before it are written now, with one write(2)."""
        if seq % INDEX_EVERY == 1:
            self._index.append((seq, self.end + len(self._pending)))
        self._pending += line
        if flush:
            self.flush()

    def flush(self) -> None:
        """Write what is pending. A disk that refuses makes the journal ``broken``; the rest stays in memory."""
        if not self._pending:
            return
        data = bytes(self._pending)
        self._pending.clear()
        done = 0
        if self.broken is None:
            try:
                while done < len(data):
                    done += os.write(self._fd, data[done:])
            except OSError as error:
                self.broken = error
            self._in_file += done
        room = OVERLAY_BYTES - len(self._overlay)
        if len(data) - done <= room:
            self._overlay += data[done:]
        with self._grown:
            self._grown.notify_all()

    def rename(self, trial: str) -> None:
        """Give the file the trial's name. Raises FileExistsError if that trial already has a journal."""
        target = self.trial_path(trial)
        if target.exists():
            raise FileExistsError(f"trial {trial} already has a journal")
        self.path.rename(target)
        self.path = target

    def trial_path(self, trial: str) -> Path:
        """Where a trial's journal is or would be."""
        return self.path.with_name(f"{trial}.ndjson")

    def read(self, offset: int) -> bytes:
        """Return whole lines from ``offset`` (the beginning of a line) on, b"" at the end."""
        if offset < self._in_file:
            data = os.pread(self._fd, min(READ_BYTES, self._in_file - offset), offset)
            return data[: data.rfind(b"\n") + 1] or data
        start = offset - self._in_file
        return bytes(self._overlay[start : start + READ_BYTES])

    def wait(self, offset: int, timeout: float) -> None:
        """Return when there is something to read at ``offset``, or after ``timeout`` seconds."""
        with self._grown:
            if self.end <= offset:
                self._grown.wait(timeout)

    def note_sent(self, offset: int) -> None:
        """Say that everything before ``offset`` is with the host."""
        with self._grown:
            self._sent = max(self._sent, offset)
            self._grown.notify_all()

    def wait_until_sent(self, timeout: float) -> None:
        """Wait until everything written by now is sent, at most ``timeout`` seconds."""
        end = self.end
        with self._grown:
            self._grown.wait_for(lambda: self._sent >= end, timeout)

    def wake(self) -> None:
        """Let all waiting readers look again."""
        with self._grown:
            self._grown.notify_all()

    def offset_of(self, seq: int) -> int:
        """Return where line ``seq`` begins. It must have been flushed. Raises ValueError if there is no such line."""
        if seq < 1 or not self._index:
            raise ValueError(f"no event {seq}")
        at, offset = self._index[min((seq - 1) // INDEX_EVERY, len(self._index) - 1)]
        while at < seq:
            data = self.read(offset)
            if not data:
                raise ValueError(f"no event {seq}")
            lines = data.splitlines(keepends=True)
            taken = lines[: seq - at]
            at += len(taken)
            offset += sum(map(len, taken))
        return offset


def _remove_stale(directory: Path) -> None:
    """Delete all but the newest journals of processes that never got a trial."""
    stale = sorted(directory.glob(f"{PROCESS_JOURNAL_PREFIX}*.ndjson"), key=lambda path: path.stat().st_mtime_ns)
    for path in stale[:-STALE_JOURNALS_KEPT]:
        path.unlink(missing_ok=True)

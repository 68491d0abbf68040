"""The event log: numbers, stamps and encodes every event, and hands it to the journal, from which it is sent.

The one lock of the app lives here: the order of ``seq`` is the order in the journal is the order on the wire.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

from .job import PROTOCOL_VERSION
from .journal import Journal

SAMPLE_BATCH_NS = 5_000_000
"""Samples wait at most this long for their write(2). The protocol allows 100 ms; a kill should cost less evidence."""
MAX_TEXT_BYTES = 8 * 1024
"""Free text in an event: with every byte escaped as \\u00XX it still fits into a line of 64 KiB."""


class EventLog:
    """Emits events. Safe to call from any thread."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._lock = threading.Lock()
        self._seq = 0
        self._oldest_pending_ns: int | None = None

    @property
    def last_seq(self) -> int:
        """Number of the newest event."""
        return self._seq

    def emit(self, event: str, **fields: object) -> None:
        """Record an event now: it is in the journal when this returns."""
        with self._lock:
            self._emit(event, fields)

    def begin_trial(self, trial: str, event: str, **fields: object) -> None:
        """Give the journal the trial's name and record the trial's first event. Raises FileExistsError."""
        with self._lock:
            self.journal.rename(trial)
            self._emit(event, fields)

    def _emit(self, event: str, fields: dict[str, object]) -> None:
        body = {"v": PROTOCOL_VERSION, "seq": self._seq + 1, "t": time.monotonic_ns(), "ev": event, **fields}
        line = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
        data = line.encode("utf-8", "replace")
        self._seq += 1
        self._oldest_pending_ns = None
        self.journal.append(self._seq, data, flush=True)

    def sample(self, t_ns: int, values: Sequence[int | None], period_ns: int) -> None:
        """Record one row of readings taken at ``t_ns``; the next is expected ``period_ns`` later.

        When the journal is broken nothing is recorded: a sample that may be lost is no evidence.
        """
        columns = ",".join(["null" if value is None else str(value) for value in values])
        with self._lock:
            if self.journal.broken is not None:
                return
            self._seq += 1
            line = f'{{"v":1,"seq":{self._seq},"t":{t_ns},"ev":"sample","d":[{columns}]}}\n'
            if self._oldest_pending_ns is None:
                self._oldest_pending_ns = t_ns
            flush = t_ns + period_ns - self._oldest_pending_ns > SAMPLE_BATCH_NS
            if flush:
                self._oldest_pending_ns = None
            self.journal.append(self._seq, line.encode(), flush=flush)

    def offset_of(self, seq: int) -> int:
        """Write what is pending and return where an event begins in the journal; the next one's is the end.

        Raises ValueError for an event further ahead.
        """
        with self._lock:
            self.journal.flush()
            self._oldest_pending_ns = None
            if seq == self._seq + 1:
                return self.journal.end
            if seq > self._seq:
                raise ValueError(f"event {seq} has not happened; the newest is {self._seq}")
            return self.journal.offset_of(seq)


def bounded(text: str, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Cut a text that came from elsewhere (an engine, the kernel) to what an event may carry."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return data.decode("utf-8")
    return data[: max_bytes - 3].decode("utf-8", "ignore") + "..."

"""The memory of a trial that is running, from its growing stream: each look reads only what is new."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.core.telemetry import Source

MAX_READ_BYTES = 64 << 20
"""At one look: about seven minutes of samples at 1 kHz; the rest comes with the next look."""
MAX_POINTS = 240
"""Of the footprint over time; when there are more, each two become the larger one."""
_COLUMNS = ("source", "t_ns", "footprint_bytes", "resident_bytes", "available_bytes")


@dataclass(frozen=True)
class MemoryNow:
    """By the app's own samples; None: the phone has no such figure. They come in batches, so a little late."""

    since_first_ns: int
    """Time of the last sample, from the first one."""
    samples: int
    footprint_bytes: int | None
    resident_bytes: int | None
    available_bytes: int | None
    peak_footprint_bytes: int | None
    points: tuple[tuple[int, int], ...] = ()
    """(ns since the first sample, footprint in bytes), in order of time; thinned, the peaks kept."""

    @property
    def limit_bytes(self) -> int | None:
        """What the footprint may grow to: footprint + what is left, as the app was told at its last sample."""
        if self.footprint_bytes is None or self.available_bytes is None:
            return None
        return self.footprint_bytes + self.available_bytes


class SpoolTail:
    """Follows the stream of one trial."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._schema: pa.Schema | None = None
        self._first_ns: int | None = None
        self._last: dict[str, Any] | None = None
        self._samples = 0
        self._peak: int | None = None
        self._points: list[tuple[int, int]] = []
        self._every, self._skipped = 1, 0

    def read(self) -> MemoryNow | None:
        """As of the newest whole batch; None: there is no sample of the app yet, or no stream."""
        data = self._new_bytes()
        if data:
            self._take(data)
        if self._last is None or self._first_ns is None:
            return None
        last = self._last
        return MemoryNow(
            last["t_ns"] - self._first_ns,
            self._samples,
            last["footprint_bytes"],
            last["resident_bytes"],
            last["available_bytes"],
            self._peak,
            tuple(self._points),
        )

    def _new_bytes(self) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                file.seek(self._offset)
                return file.read(MAX_READ_BYTES)
        except OSError:
            # not begun yet, or the trial has just ended
            return b""

    def _take(self, data: bytes) -> None:
        """Whole messages only; a torn one is there whole at the next look, and a broken stream tells no more."""
        reader, begin = pa.BufferReader(data), self._offset
        while True:
            try:
                message = pa.ipc.read_message(reader)
                if self._schema is None:
                    self._schema = pa.ipc.read_schema(message)
                else:
                    batch = pa.ipc.read_record_batch(message, self._schema)
                    batch.validate(full=True)
                    self._add(batch.select(_COLUMNS).to_pylist())
            except (EOFError, OSError, KeyError, TypeError, ValueError, pa.ArrowException):
                return
            self._offset = begin + reader.tell()

    def _add(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["source"] != Source.APP:
                continue
            self._samples += 1
            self._last = row
            if self._first_ns is None:
                self._first_ns = row["t_ns"]
            footprint = row["footprint_bytes"]
            if footprint is not None:
                self._peak = footprint if self._peak is None else max(self._peak, footprint)
                self._point(row["t_ns"] - self._first_ns, footprint)

    def _point(self, t_ns: int, footprint: int) -> None:
        if self._skipped and self._points:
            self._points[-1] = max(self._points[-1], (t_ns, footprint), key=lambda point: point[1])
        else:
            self._points.append((t_ns, footprint))
        self._skipped = (self._skipped + 1) % self._every
        if len(self._points) > MAX_POINTS:
            pairs = [self._points[at : at + 2] for at in range(0, len(self._points), 2)]
            self._points = [max(pair, key=lambda point: point[1]) for pair in pairs]
            self._every *= 2
            self._skipped = 0

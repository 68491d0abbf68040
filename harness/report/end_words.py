"""How a trial ended, in one line: the same words where a run is driven and where it is watched.

May know `core` alone: a command is to be there at once.
"""

from __future__ import annotations

from typing import Protocol

from harness.core.outcome import Outcome
from harness.core.units import format_bytes

NS_PER_MS = 1_000_000


class Ended(Protocol):
    """What is asked of a record, or of as much of one as was read."""

    @property
    def outcome(self) -> str | None: ...
    @property
    def expected_outcome(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def broken_limits(self) -> str | None: ...
    @property
    def cut_short(self) -> bool: ...
    @property
    def load_ns(self) -> int | None: ...
    @property
    def peak_footprint_bytes(self) -> int | None: ...
    @property
    def ttft_ns(self) -> int | None: ...


def end_text(end: Ended, *marks: str) -> str:
    """`loaded: load 10 ms, peak 15.59 MiB, first token 5 ms`; of others the reason. `marks` come first."""
    told = [*marks]
    if end.load_ns is not None:
        told.append(f"load {end.load_ns / NS_PER_MS:.0f} ms")
    if end.peak_footprint_bytes is not None:
        told.append(f"peak {format_bytes(end.peak_footprint_bytes)}")
    if end.ttft_ns is not None:
        told.append(f"first token {end.ttft_ns / NS_PER_MS:.0f} ms")
    told += end_remarks(end)
    outcome = end.outcome or Outcome.UNKNOWN.value
    return f"{outcome}: {', '.join(told)}" if told else outcome


def end_remarks(end: Ended) -> list[str]:
    """What is to be said of it beside its figures; empty: nothing."""
    told = []
    if end.outcome != end.expected_outcome:
        told.append(f"expected {end.expected_outcome}")
    if end.broken_limits:
        told.append(f"over the limits: {end.broken_limits}")
    if end.cut_short:
        told.append("cut short, does not count")
    if end.reason and end.outcome != Outcome.LOADED:
        told.append(end.reason)
    return told

"""What a phone's system monitor (sysmontap) tells, made into readings on the host's clock. Pure functions.

Readings carry the phone's own time, since they arrive late when either side is busy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.telemetry import Reading, Source
from harness.device.values import whole

PROCESS_ATTRIBUTES = ("pid", "physFootprint", "memResidentSize")
"""What to ask for of each process; a row then has these values in this order."""


@dataclass(frozen=True)
class MachClock:
    """The phone's mach time on the host's monotonic clock."""

    numerator: int
    denominator: int
    offset_ns: int

    @classmethod
    def told(cls, info: object, *, sent_ns: int, received_ns: int) -> MachClock:
        """From the answer to machTimeInfo (ticks, numerator, denominator) and when it was asked and had.

        Raises ValueError when that is no clock.
        """
        figures = [whole(value) for value in info[:3]] if isinstance(info, (list, tuple)) else []
        ticks, numerator, denominator = figures if len(figures) == 3 else (None, None, None)
        if not ticks or not numerator or not denominator:
            raise ValueError(f"the phone told a clock that is none: {info!r:.80}")
        return cls(numerator, denominator, (sent_ns + received_ns) // 2 - ticks * numerator // denominator)

    def host_ns(self, ticks: object) -> int:
        """Now, when the phone did not say."""
        told = whole(ticks)
        return time.monotonic_ns() if told is None else told * self.numerator // self.denominator + self.offset_ns


def reading_of(row: object, pid: int, clock: MachClock) -> Reading | None:
    """What a row says of one process; None in rows of other kinds and where the process is not."""
    processes = row.get("Processes") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not isinstance(processes, Mapping):
        return None
    values = processes.get(pid)
    if not isinstance(values, Sequence) or len(values) != len(PROCESS_ATTRIBUTES) or values[0] != pid:
        return None
    return Reading(
        source=Source.HOST,
        t_ns=clock.host_ns(row.get("EndMachAbsTime")),
        footprint_bytes=whole(values[1]),
        resident_bytes=whole(values[2]),
    )

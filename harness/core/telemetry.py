"""One reading of a process's memory, whoever took it, and the columns under which readings are kept."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


class Source(StrEnum):
    APP = "app"
    """The runner's own sampling thread, inside the measured process."""
    HOST = "host"
    """The phone's system monitor, asked from the host: the independent cross-check."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A row of telemetry. None means that the platform or the source does not have the figure; it is never 0.

    `t_ns` is on the clock of the measured process (monotonic); a host reading is moved onto it with the trial's
    clock offset. `seq` is the event's number in the wire language, None for a host reading.
    """

    source: Source
    t_ns: int
    seq: int | None = None
    footprint_bytes: int | None = None
    resident_bytes: int | None = None
    virtual_bytes: int | None = None
    available_bytes: int | None = None
    metal_bytes: int | None = None
    compressed_bytes: int | None = None
    pageins: int | None = None
    faults: int | None = None
    cpu_ns: int | None = None
    thermal: int | None = None


# Names in the runner's `sample_columns` → our columns. What a runner sends under another name is kept in the
# journal but not in telemetry.
WIRE_COLUMNS = {
    "footprint": "footprint_bytes",
    "resident": "resident_bytes",
    "virtual": "virtual_bytes",
    "available": "available_bytes",
    "metal": "metal_bytes",
    "compressed": "compressed_bytes",
    "pageins": "pageins",
    "faults": "faults",
    "cpu_ns": "cpu_ns",
    "thermal": "thermal",
}

READING_COLUMNS = tuple(field.name for field in fields(Reading))


@dataclass(frozen=True)
class Phase:
    """A named span inside a trial; `end_ns` is None when the process did not live to end it."""

    name: str
    begin_ns: int
    end_ns: int | None = None
    kernel_peak_resident_bytes: int | None = None

    @property
    def duration_ns(self) -> int | None:
        return None if self.end_ns is None else self.end_ns - self.begin_ns

"""One reading of a process's memory, whoever took it, and the columns under which readings are kept."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
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
    graphics_bytes: int | None = None
    internal_bytes: int | None = None
    external_bytes: int | None = None
    decompressions: int | None = None
    swapins: int | None = None
    cow_faults: int | None = None


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
    # an iPhone's own
    "graphics": "graphics_bytes",
    "internal": "internal_bytes",
    "external": "external_bytes",
    "decompressions": "decompressions",
    "swapins": "swapins",
    "cow_faults": "cow_faults",
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


@dataclass(frozen=True)
class HostStep:
    """Something the harness did for a trial; `end_ns` is None when it never came to its end."""

    name: str
    begin_ns: int
    """On the host's monotonic clock, like `end_ns`."""
    end_ns: int | None = None
    app_begin_ns: int | None = None
    """On the app's clock, like phases and readings; None when the offset was not measured."""
    app_end_ns: int | None = None

    @property
    def duration_ns(self) -> int | None:
        return None if self.end_ns is None else self.end_ns - self.begin_ns

    def on_app_clock(self, offset_ns: int | None) -> HostStep:
        """The same with its times on the app's clock, `offset_ns` ahead of the host's."""
        if offset_ns is None:
            return self
        end_ns = None if self.end_ns is None else self.end_ns + offset_ns
        return replace(self, app_begin_ns=self.begin_ns + offset_ns, app_end_ns=end_ns)


@dataclass(frozen=True)
class Cut:
    """A time in which the phone was not attached; `back_ns` is None when it did not come back."""

    gone_ns: int
    """On the host's monotonic clock, like `back_ns`."""
    back_ns: int | None = None
    app_gone_ns: int | None = None
    """On the app's clock; None when the offset was not measured."""
    app_back_ns: int | None = None

    def on_app_clock(self, offset_ns: int | None) -> Cut:
        """The same with its times on the app's clock, `offset_ns` ahead of the host's."""
        if offset_ns is None:
            return self
        back_ns = None if self.back_ns is None else self.back_ns + offset_ns
        return replace(self, app_gone_ns=self.gone_ns + offset_ns, app_back_ns=back_ns)


@dataclass(frozen=True)
class Notice:
    """What the phone told the app unasked."""

    kind: str
    """`memory_warning`, `memory_pressure`, `thermal`, `low_power`, or what a newer runner calls it."""
    at_ns: int
    """On the app's clock."""
    text: str | None = None
    """The new state, as `serious` or `on`; None for a warning."""


@dataclass(frozen=True)
class SampleGap:
    """Two samples further apart than they should be: when the first was taken, and how long nothing followed."""

    begin_ns: int
    """On the app's clock."""
    length_ns: int

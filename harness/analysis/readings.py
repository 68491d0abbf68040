"""What the readings of one trial say. Pure; may know only `core`, and a trial that runs need not load pandas for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from harness.core.telemetry import Reading, SampleGap, Source


@dataclass(frozen=True)
class TelemetryFigures:
    """Figures of one trial's readings, named as the record's columns: `replace(record, **asdict(figures))`."""

    peak_footprint_bytes: int | None
    peak_resident_bytes: int | None
    footprint_limit_bytes: int | None
    host_peak_footprint_bytes: int | None
    sample_count: int
    sample_gap_max_ns: int | None
    last_sample_ns: int | None


def telemetry_figures(readings: Sequence[Reading]) -> TelemetryFigures:
    """The figures of readings in any order; None where no reading has what it takes (a gap needs two samples).

    The limit is the median of footprint + available: the two are read one after the other, so that a single sum may be
    off. A sample with nothing available is left out: the system says 0 at the limit, above it, and without a limit.
    """
    app = [reading for reading in readings if reading.source is Source.APP]
    times = sorted(reading.t_ns for reading in app)
    limits = [
        reading.footprint_bytes + reading.available_bytes
        for reading in app
        if reading.footprint_bytes is not None and reading.available_bytes
    ]
    return TelemetryFigures(
        peak_footprint_bytes=_largest(reading.footprint_bytes for reading in app),
        peak_resident_bytes=_largest(reading.resident_bytes for reading in app),
        footprint_limit_bytes=median_low(limits) if limits else None,
        host_peak_footprint_bytes=_largest(r.footprint_bytes for r in readings if r.source is Source.HOST),
        sample_count=len(app),
        sample_gap_max_ns=_largest(later - earlier for earlier, later in pairwise(times)),
        last_sample_ns=times[-1] if times else None,
    )


# A gap is three periods, so that one late sample is none; below 100 ms a busy phone's scheduler alone may be the cause,
# and no phase of a load that matters is shorter.
GAP_PERIODS = 3
GAP_FLOOR_NS = 100_000_000
# Gaps that are listed; of more than these the count tells.
MAX_GAPS = 32
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class SampleGaps:
    """Where the app's samples are further apart than they should be."""

    limit_ns: int
    """What counts as a gap."""
    count: int
    longest: tuple[SampleGap, ...]
    """The longest of them, at most MAX_GAPS, in order of time."""


def sample_gaps(readings: Iterable[Reading], sample_hz: int) -> SampleGaps:
    """The gaps between samples of the app, which was asked for `sample_hz` of them a second."""
    limit_ns = max(GAP_FLOOR_NS, GAP_PERIODS * NS_PER_S // sample_hz)
    times = sorted(reading.t_ns for reading in readings if reading.source is Source.APP)
    gaps = [SampleGap(earlier, later - earlier) for earlier, later in pairwise(times) if later - earlier > limit_ns]
    longest = sorted(gaps, key=lambda gap: gap.length_ns, reverse=True)[:MAX_GAPS]
    return SampleGaps(limit_ns, len(gaps), tuple(sorted(longest, key=lambda gap: gap.begin_ns)))


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)

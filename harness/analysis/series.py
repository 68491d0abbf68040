"""Series: one metric of one case on one device class over the nights, in segments of the same identity.

The words and their shapes; `nightly` makes them of a frame of trials. Pure; may know only `core`, `metrics` and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Self
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from harness.analysis.change_points import FloatArray
from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.errors import UsageError
from harness.core.phone import PhoneKind

OUTCOME = "outcome"
"""Stands for a metric in the series of how a case's trials end."""
PARALLEL_NIGHTS = 3
"""Two identities that ran on as many nights side by side (two phones with different iOS) are both current; one that was
only followed by another has ended."""
SERIES_FORM = "KIND/PRODUCT TYPE/SUITE/CASE:METRIC, as in virtual/iPhone17,1/smoke/tiny/litert_lm/cpu/cold:load_ns"

OS_MAJOR = "os_major"
"""Made of `device_os_version`."""
IDENTITY = {
    "engine": "engine",
    "engine_version": "engine version",
    "app_variant": "app variant",
    OS_MAJOR: "iOS",
    "model_sha256": "model file",
    "device_settings": "settings of the virtual phone",
    "backend_requested": "backend",
    "cache_state": "cache",
    "max_tokens": "max_tokens",
    "decode_tokens": "decode_tokens",
    "sample_hz": "sample_hz",
    "seed": "seed",
    "prewarm": "prewarm",
    "prewarm_chunk_bytes": "prewarm_chunk_bytes",
    "warmup": "warmup",
    "guard_reserve_bytes": "guard_reserve_bytes",
    "copies": "copies",
}
"""Columns that make a segment (what is measured, and with which options), and what a change of each is called."""
CONTEXT = {
    "build": "build",
    "app_build": "app",
    "app_commit": "commit",
    "device_os_version": "iOS",
    "device_os_build": "iOS build",
    "device_udid": "phone",
    "transport": "transport",
    "harness_version": "harness",
    "host_name": "host",
}
"""Columns that make no segment, since they are what may be at fault when a level changes within one."""
BUILD_COLUMNS = ("build", "app_build", "app_commit")
_DIGEST_CHARS = 8
"""Of a model's or an app's digest in words."""


@dataclass(frozen=True, order=True)
class CaseKey:
    """A case on a device class. Physical and virtual phones never share one."""

    device_kind: str
    device_product_type: str
    suite: str
    case: str

    def series(self, metric: str) -> SeriesKey:
        """The key of the case's series of a metric, or of OUTCOME."""
        return SeriesKey(self.device_kind, self.device_product_type, self.suite, self.case, metric)


@dataclass(frozen=True, order=True)
class SeriesKey:
    """What a series is of; `metric` is a column of the record that is followed, or OUTCOME."""

    device_kind: str
    device_product_type: str
    suite: str
    case: str
    metric: str

    @property
    def of_case(self) -> CaseKey:
        return CaseKey(self.device_kind, self.device_product_type, self.suite, self.case)

    @property
    def text(self) -> str:
        """Stable: kept in databases, written on command lines; `parse` reads it back."""
        # a suite's name has no slash in a suite file, yet records may come from elsewhere
        head = (quote(part, safe=",._- ") for part in (self.device_kind, self.device_product_type, self.suite))
        return f"{'/'.join(head)}/{self.case}:{self.metric}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `text`; raises UsageError naming the form."""
        case_text, colon, metric = text.rpartition(":")
        parts = case_text.split("/", 3)
        if not colon or len(parts) != 4 or not all(parts):
            raise UsageError(f"{text!r} is no series; it is {SERIES_FORM}")
        kind, product_type, suite = (unquote(part) for part in parts[:3])
        if kind not in tuple(PhoneKind):
            raise UsageError(f"{text!r} is no series: {kind!r} is none of {', '.join(PhoneKind)}")
        if metric != OUTCOME and metric not in METRIC_BY_NAME:
            known = ", ".join([OUTCOME, *METRIC_BY_NAME])
            raise UsageError(f"{text!r} is no series: {metric!r} is none of {known}")
        return cls(kind, product_type, suite, parts[3], metric)


Identity = tuple[object, ...]
"""Values of the columns IDENTITY, in that order; None where the record has none."""


def identity_change(before: Identity, after: Identity) -> str:
    """What differs, in words: `engine version 0.18.1 → 0.19.0`; empty for equal ones."""
    told = [
        f"{words} {_short(name, old)} → {_short(name, new)}"
        for (name, words), old, new in zip(IDENTITY.items(), before, after, strict=True)
        if old != new
    ]
    return ", ".join(told)


def identity_differences(identity: Identity, all_identities: Sequence[Identity]) -> str:
    """In what an identity differs from others beside it, in words: `iOS 18`; empty when it is alone."""
    told = [
        f"{words} {_short(name, values[0])}"
        for (name, words), values in zip(IDENTITY.items(), zip(identity, *all_identities, strict=True), strict=True)
        if any(value != values[0] for value in values)
    ]
    return ", ".join(told)


def _short(name: str, value: object) -> str:
    if value is None or value == "":
        return "none"
    return str(value)[:_DIGEST_CHARS] if name in ("model_sha256", "app_build") else str(value)


@dataclass(frozen=True)
class Night:
    """A case's trials of one night and one identity."""

    night: date
    """The day on whose noon (UTC, or as it was set) the night began."""
    ran: int
    """Trials that count, however they ended."""
    outcomes: Mapping[str, int]
    backends: Mapping[str, int]
    """Effective backends of the trials that gave a result."""
    context: Mapping[str, tuple[str, ...]]
    """Column of CONTEXT → its values that night, in order of time; empty where no trial knows."""


@dataclass(frozen=True)
class Segment:
    """The nights of a case with one identity, oldest first; arrays go along with `nights`."""

    identity: Identity
    nights: tuple[Night, ...]
    values: Mapping[str, FloatArray]
    """Metric → median of the night's trials that loaded and have the figure, in the record's unit; NaN: none has."""
    quartiles: Mapping[str, FloatArray]
    """Metric → `[night, 2]`: lower and upper quartile of the same trials."""
    counts: Mapping[str, NDArray[np.int64]]
    """Metric → how many trials the median is of."""

    @property
    def first(self) -> date:
        return self.nights[0].night

    @property
    def last(self) -> date:
        return self.nights[-1].night

    @cached_property
    def dates(self) -> frozenset[date]:
        return frozenset(night.night for night in self.nights)


@dataclass(frozen=True)
class CaseHistory:
    """Everything that the records tell of a case on a device class, up to a night."""

    key: CaseKey
    segments: tuple[Segment, ...]
    """In order of their first nights."""
    suite_nights: tuple[date, ...]
    """On which any case of the suite ran on such phones, oldest first."""

    def current(self) -> list[Segment]:
        """The segments that have not been followed by another one."""
        return [one for one in self.segments if not any(_follows(other, one) for other in self.segments)]

    def before(self, segment: Segment) -> Segment | None:
        """The segment that `segment` followed: the one with the latest night before its first."""
        earlier = [one for one in self.segments if one.first < segment.first]
        return max(earlier, key=lambda one: (max(d for d in one.dates if d < segment.first), one.first), default=None)


def _follows(later: Segment, earlier: Segment) -> bool:
    if later is earlier or later.last <= earlier.last:
        return False
    return len(later.dates & earlier.dates) < PARALLEL_NIGHTS


def context_changes(before: Night, after: Night, columns: Sequence[str] = tuple(CONTEXT)) -> dict[str, str]:
    """Column → `1.2 → 1.3`, of what both nights know and no value of which they share."""
    changes = {}
    for name in columns:
        old, new = before.context.get(name, ()), after.context.get(name, ())
        if old and new and not set(old) & set(new):
            changes[name] = f"{_short(name, old[-1])} → {_short(name, new[0])}"
    return changes


def parse_night(text: str) -> date:
    """A night as people write it, `2026-11-22`; raises UsageError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no night; it is the day on which it began, as in 2026-11-22") from None


def nights_between(earlier: date, later: date) -> int:
    """Calendar nights from one to the other."""
    return (later - earlier) // timedelta(days=1)

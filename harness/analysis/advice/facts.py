"""What a rule may look at: the trial's record, other trials on phones of its class, and what its model file says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from harness.core.job import Engine
from harness.core.model_file import ModelFile
from harness.core.outcome import Family, Outcome
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord, TrialState

INCREASED_LIMIT = "com.apple.developer.kernel.increased-memory-limit"
EXTENDED_ADDRESSING = "com.apple.developer.kernel.extended-virtual-addressing"
# From xnu-8792 on the increased limit comes with the large address space.
INCREASED_LIMIT_EXTENDS_SINCE_IOS = 16
PER_PROCESS_LIMIT = "per-process-limit"
MAX_QUOTED_CHARS = 160
QUOTED_BEYOND_CHARS = 60

# What engines, libc++ and libc say when no address space is left; `std::bad_alloc` has an outcome of its own.
_NO_ROOM = re.compile(
    r"cannot allocate memory|failed to allocate|failed to map|bad_alloc|thread constructor failed", re.IGNORECASE
)
# The reason that `core.outcome` gives a jetsam.
_KILL = re.compile(r"killed by the phone: (?P<reason>\S+) at (?P<footprint>\d{1,18}) bytes")
_SAME_LOAD = ("model_sha256", "engine", "backend_requested", "cache_state", "max_tokens", "copies")
_FLOORS = (Engine.MMAP, Engine.READ)


@dataclass(frozen=True)
class Finding:
    """What a rule has found: what in this trial shows it, with figures, and what to do."""

    evidence: str
    remedy: str


@dataclass(frozen=True)
class Kill:
    """The phone's word on why it killed the process, and at which footprint."""

    reason: str
    footprint_bytes: int


@dataclass(frozen=True)
class Facts:
    """One trial and what is known around it."""

    record: TrialRecord
    neighbours: tuple[TrialRecord, ...] = ()
    """Other ended, counted trials on phones of the same class, newest first."""
    model: ModelFile | None = None

    @classmethod
    def of(cls, record: TrialRecord, others: Iterable[TrialRecord], model: ModelFile | None) -> Facts:
        """Chooses the neighbours among any records; a virtual phone's settings make its class, too."""
        near = (other for other in others if other.trial_id != record.trial_id and _counts(other))
        same = (other for other in near if _device_class(other) == _device_class(record))
        return cls(record, tuple(sorted(same, key=lambda other: other.trial_id, reverse=True)), model)

    # -- how it ended

    @property
    def outcome(self) -> Outcome:
        """Of an ended trial: `advise` asks no rule about another."""
        assert self.record.outcome is not None, "an ended trial has an outcome"
        return Outcome(self.record.outcome)

    @property
    def measured(self) -> bool:
        return self.outcome.family is Family.MEASURED

    @cached_property
    def kill(self) -> Kill | None:
        if self.outcome is not Outcome.JETSAM:
            return None
        match = _KILL.search(self.record.reason or "")
        return None if match is None else Kill(match["reason"], int(match["footprint"]))

    @property
    def hit_the_footprint_limit(self) -> bool:
        return self.kill is not None and self.kill.reason == PER_PROCESS_LIMIT

    @cached_property
    def no_room_words(self) -> str | None:
        """What was said of an allocation that found no room, where that ended the trial or may have."""
        if self.outcome not in _MAY_LACK_ROOM:
            return None
        return self.said(_NO_ROOM)

    @property
    def out_of_memory(self) -> bool:
        """Over either wall: the footprint limit, or the address space."""
        return self.hit_the_footprint_limit or self.no_room_words is not None

    @property
    def last_phase(self) -> str | None:
        """The phase that the process died in; where all have ended, the last."""
        phases = self.record.phases
        return next(
            (phase.name for phase in reversed(phases) if phase.end_ns is None), phases[-1].name if phases else None
        )

    def said(self, words: re.Pattern[str]) -> str | None:
        """The first line of the reason or the evidence that has the words, shortened around them."""
        texts = (self.record.reason or "", *(item.text for item in self.record.evidence))
        matches = (words.search(" ".join(line.split())) for text in texts for line in text.splitlines())
        found = next((match for match in matches if match is not None), None)
        return None if found is None else quoted(found.string, found.end())

    # -- what was asked

    @property
    def on_gpu(self) -> bool:
        return self.record.backend_requested == "gpu"

    @property
    def floor(self) -> bool:
        """No engine at all: the file is only brought in."""
        return self.record.engine in _FLOORS

    # -- figures

    @property
    def peak_bytes(self) -> int | None:
        """The largest footprint that anybody saw; of a killed process, the kernel's figure."""
        seen = (
            self.record.peak_footprint_bytes,
            self.record.host_peak_footprint_bytes,
            None if self.kill is None else self.kill.footprint_bytes,
        )
        return max((value for value in seen if value is not None), default=None)

    @property
    def needed_address_bytes(self) -> tuple[int, str] | None:
        """What the load needs in one app, at least, and how that is known."""
        predicted = self.record.predicted_address_bytes
        if predicted is not None:
            return predicted, "by the model's own figures"
        if self.record.model_bytes > 0 and not self.floor:
            return self.record.model_bytes, "for the file alone"
        return None

    @property
    def wall_bytes(self) -> int | None:
        """The limit that the trial met, or, where it met none, its peak: what a part of the memory is held against."""
        if self.hit_the_footprint_limit:
            return self.record.footprint_limit_bytes
        return self.record.allocation_limit_bytes if self.out_of_memory else self.peak_bytes

    @property
    def over_the_largest_mapping(self) -> tuple[int, int, str] | None:
        """Needed and available address space and how the former is known, where the need is the larger."""
        needed, most = self.needed_address_bytes, self.record.allocation_limit_bytes
        if self.record.device_kind != PhoneKind.VIRTUAL:
            # there it is the largest of several holes: only what must lie in one piece can be held against it
            needed = self.record.model_bytes, "for the file alone"
        if needed is None or most is None or needed[0] <= most:
            return None
        return needed[0], most, needed[1]

    # -- other trials

    def same_load(self, **but: object) -> list[TrialRecord]:
        """Neighbours that loaded the same file in the same way, but for what is given."""
        wanted = {name: but.get(name, getattr(self.record, name)) for name in (*_SAME_LOAD, *but)}
        return [
            other for other in self.neighbours if all(getattr(other, name) == value for name, value in wanted.items())
        ]


_MAY_LACK_ROOM = (
    Outcome.BAD_ALLOC,
    Outcome.ABORTED,
    Outcome.CRASHED,
    Outcome.GPU_FAULT,
    Outcome.LOAD_ERROR,
    Outcome.GENERATE_ERROR,
    # libc ends a process that gets no memory for a thread by exit code 127, which proves nothing
    Outcome.UNKNOWN,
)


def entitled(record: TrialRecord, name: str) -> bool | None:
    """Whether the installed app has the entitlement; None: not known."""
    return None if record.app_entitlements is None else bool(record.app_entitlements.get(name))


def has_large_address_space(record: TrialRecord) -> bool | None:
    """Whether an entitlement of the app widens its address space; None: not known."""
    if record.app_entitlements is None:
        return None
    if entitled(record, EXTENDED_ADDRESSING):
        return True
    major = record.device_os_version.partition(".")[0]
    known = major.isdecimal() and int(major) >= INCREASED_LIMIT_EXTENDS_SINCE_IOS
    return known and bool(entitled(record, INCREASED_LIMIT))


def quoted(text: str, upto: int = 0) -> str:
    """One short line in quotation marks; of a long one, the part that leads to `upto` and a little beyond."""
    line = " ".join(text.split())
    begin = max(0, min(upto + QUOTED_BEYOND_CHARS, len(line)) - MAX_QUOTED_CHARS)
    part = line[begin : begin + MAX_QUOTED_CHARS]
    return f'"{"…" if begin else ""}{part}{"…" if begin + len(part) < len(line) else ""}"'


def _counts(record: TrialRecord) -> bool:
    return record.state == TrialState.DONE and record.outcome is not None and record.ordinal >= 1


def _device_class(record: TrialRecord) -> tuple[str, str, str]:
    return record.device_kind, record.device_product_type, record.device_settings

"""Is a report of the phone about our process? By pid, process name and clock; pure.

Pids are used again, reports of earlier processes may be moved into sight late, and a phone's wall clock may jump:
one sign alone proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

NS_PER_S = 1_000_000_000
# Reports tell hundredths of a second at best, and the clocks' offset is known to within a round trip.
CLOCK_SLACK_S = 2.0
# Where the kernel cuts a process's name off: MAXCOMLEN (16) and twice that, with and without the ending zero.
NAME_CUTS = (15, 16, 31, 32)

# As reports write it: `2026-11-22 15:04:05.12 +0000`.
_STAMP = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?P<fraction>\.\d{1,9})? (?P<zone>[+-]\d{4})\Z", re.ASCII
)


@dataclass(frozen=True)
class TrialWindow:
    """When the process lived, on the host's wall clock, and how far the phone's was from it before and after."""

    begin_ns: int
    """Since 1970, like `end_ns`."""
    end_ns: int
    offsets_ns: tuple[int, ...] = ()
    """The phone's clock minus the host's, each as measured; empty: the phone told no time."""

    @property
    def jump_ns(self) -> int | None:
        """How far the phone's clock moved against the host's between the two measurements, beyond the slack."""
        if len(self.offsets_ns) < 2:
            return None
        moved_ns = self.offsets_ns[-1] - self.offsets_ns[0]
        return moved_ns if abs(moved_ns) > CLOCK_SLACK_S * NS_PER_S else None

    def misses_by_s(self, moment_s: float) -> float | None:
        """How far a time of the phone's lies outside, by the offset that fits best; None: it fits, or none is known."""
        if not self.offsets_ns:
            return None
        misses = [self._miss_s(moment_s, offset_ns) for offset_ns in self.offsets_ns]
        closest = min(misses, key=abs)
        return closest if abs(closest) > CLOCK_SLACK_S else None

    def _miss_s(self, moment_s: float, offset_ns: int) -> float:
        begin_s, end_s = (self.begin_ns + offset_ns) / NS_PER_S, (self.end_ns + offset_ns) / NS_PER_S
        return min(0.0, moment_s - begin_s) + max(0.0, moment_s - end_s)


@dataclass(frozen=True)
class OurProcess:
    """What a report must agree with; None: not known, so that it excludes nothing. Without a pid nothing is ours."""

    pid: int | None
    name: str | None = None
    window: TrialWindow | None = None


@dataclass(frozen=True)
class Match:
    ours: bool
    words: str
    """What agrees, or what does not, for people."""


def match_report(pid: int, name: str, captured_at: str | None, ours: OurProcess) -> Match:
    """Whether the report of process `pid` named `name`, taken at `captured_at` of the phone's clock, is ours."""
    if ours.pid is None:
        return Match(False, "not ours: no process of ours is known")
    if pid != ours.pid:
        return Match(False, f"not ours, our pid is {ours.pid}")
    if ours.name is not None and not _same_name(name, ours.name):
        return Match(False, f"not ours: it has our pid, but our process is named {ours.name}")
    moment_s = parse_stamp(captured_at)
    if ours.window is None or not ours.window.offsets_ns:
        return Match(True, "our pid and name; the phone's clock is not known" if ours.name else "matches our pid")
    if moment_s is None:
        return Match(True, "our pid and name; it tells no time")
    miss_s = ours.window.misses_by_s(moment_s)
    if miss_s is not None:
        when = f"{-miss_s:.0f} s before our trial began" if miss_s < 0 else f"{miss_s:.0f} s after our trial ended"
        return Match(False, f"not ours: it has our pid, but it was taken {when}")
    jump_ns = ours.window.jump_ns
    jumped = "" if jump_ns is None else f"; the phone's clock jumped by {jump_ns / NS_PER_S:+.0f} s meanwhile"
    return Match(True, f"our pid, name and time{jumped}" if ours.name else f"our pid and time{jumped}")


def parse_stamp(text: str | None) -> float | None:
    """Seconds since 1970 of a report's time; None when there is none or it cannot be read."""
    stamp = _STAMP.match(text.strip()) if text is not None else None
    if stamp is None:
        return None
    try:
        moment = datetime.strptime(f"{stamp['second']} {stamp['zone']}", "%Y-%m-%d %H:%M:%S %z")
        return moment.timestamp() + float(stamp["fraction"] or 0)
    except (ValueError, OverflowError):
        return None


def _same_name(reported: str, ours: str) -> bool:
    return reported == ours or (len(reported) in NAME_CUTS and ours.startswith(reported))

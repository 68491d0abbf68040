"""Whether a trial has loaded with so much room left below its footprint limit; what `fit` and `fallback` ask for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.bench.plan import Case, PlannedTrial
from harness.core.errors import DeviceError, HarnessError, UsageError
from harness.core.outcome import Family, Outcome
from harness.core.record import TrialRecord
from harness.core.units import format_bytes

if TYPE_CHECKING:
    from harness.bench.conductor import Conductor

_PERCENT = re.compile(r"(?P<number>[0-9]{1,2}(?:\.[0-9]{1,2})?) ?%", re.ASCII)
# Trials of one case that say nothing of the model (a phone that was unplugged, a push that failed): done again so
# often, then given up.
MAX_TROUBLES = 2


def parse_share(text: str) -> Fraction:
    """A share of the limit from `20%`: 0 % or more, below 100 %. Raises UsageError for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text[:40]!r} is no share of the footprint limit; write it as in 20%, from 0% to 99.99%")
    return Fraction(match["number"]) / 100


def percent(share: Fraction | float) -> str:
    """`20 %`, `12.5 %`."""
    return f"{float(share * 100):.4g} %"


def head_room_bytes(record: TrialRecord) -> int | None:
    """Footprint limit minus peak footprint; None where one of them is not known."""
    if record.footprint_limit_bytes is None or record.peak_footprint_bytes is None:
        return None
    return record.footprint_limit_bytes - record.peak_footprint_bytes


@dataclass(frozen=True)
class Probe:
    """One trial of a case and what it says of it."""

    record: TrialRecord
    holds: bool
    """It loaded, where it was asked to, with the head-room asked for."""
    why: str
    """In words: the outcome, or the head-room."""


def judge(record: TrialRecord, share: Fraction) -> Probe:
    """The verdict on a trial that says something of its model.

    Raises UsageError when head-room is asked for and cannot be told: the app knew no limit, or gave no reading.
    """
    if record.outcome != Outcome.LOADED:
        return Probe(record, False, record.outcome or "no outcome")
    room, limit = head_room_bytes(record), record.footprint_limit_bytes
    if room is None or limit is None:
        if share == 0:
            return Probe(record, True, "loaded")
        missing = "footprint limit" if limit is None else "reading of its footprint"
        raise UsageError(
            f"{record.case} loaded, but the app was told no {missing} on this phone, so its head-room is not known; "
            "ask for --headroom 0% to know whether it loads at all"
        )
    words = f"loaded, head-room {format_bytes(room)} ({percent(room / limit)} of the limit)"
    return Probe(record, room >= share * limit, words)


class Prober:
    """Runs fresh trials of cases that are decided on the way; `records` has every one of them."""

    def __init__(self, conductor: Conductor, share: Fraction, most_trials: int) -> None:
        self.records: list[TrialRecord] = []
        self._conductor = conductor
        self._share = share
        self._most_trials = most_trials
        self._ordinals: Counter[str] = Counter()

    async def probe(self, case: Case) -> Probe:
        """One trial; done again when a phone or this host was in the way of it.

        Raises DeviceError or HarnessError when they are so again and again, and what `judge` raises.
        """
        for _ in range(MAX_TROUBLES + 1):
            record = await self._trial(case)
            family = None if record.outcome is None else Outcome(record.outcome).family
            if family in (Family.MEASURED, Family.MODEL):
                return judge(record, self._share)
        error = DeviceError if family is Family.DEVICE else HarnessError
        raise error(
            f"{case.name}: {MAX_TROUBLES + 1} trials in a row say nothing of the model; the last: "
            f"{record.outcome}: {record.reason}"
        )

    async def _trial(self, case: Case) -> TrialRecord:
        self._ordinals[case.name] += 1
        planned = PlannedTrial(case, self._ordinals[case.name])
        number = len(self.records) + 1
        record = await self._conductor.run_trial(planned, number, max(number, self._most_trials))
        self.records.append(record)
        return record

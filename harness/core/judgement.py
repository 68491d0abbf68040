"""The kinds of verdicts on series, and what persons and re-runs say of a change, which the store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum

NIGHT_STARTS_UTC = time(12)
"""Noon: what runs in one night in Europe or America bears one date."""
MIN_TRIALS = 5
"""Of a night; a median of fewer is kept, and marked short."""


class VerdictKind(StrEnum):
    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    NOISY = "noisy"
    """Its own noise is too large to see what should be seen; or a change was refuted by a re-run."""
    INCOMPARABLE = "incomparable"
    """Something else is measured than before, and not for long enough to have a level of its own."""
    MISSING = "missing"
    """Too little was measured to say anything."""


class TriageState(StrEnum):
    OPEN = "open"
    """As if nothing had been said yet."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody knows and looks into it: still regressed, no alarm any more."""
    FIXED = "fixed"
    """The next nights must show it: a level that stays bad opens it again."""
    WONT_FIX = "wont-fix"
    """The new level is what is to be expected from now on."""


@dataclass(frozen=True)
class Triage:
    """What a person has said of a change."""

    series: str
    """The text of the series' key."""
    first_bad: date
    """First night of the change."""
    state: TriageState
    reason: str
    author: str
    at: datetime
    """When it was said, UTC."""


class ConfirmationResult(StrEnum):
    CONFIRMED = "confirmed"
    """The first bad build is worse than the last good one, on one phone, in turns."""
    REFUTED = "refuted"
    """The two builds do not differ so: it was the night, or the phone."""
    UNDECIDED = "undecided"
    """The re-run could not tell."""
    NOT_POSSIBLE = "not_possible"
    """A build, or such a phone, is not at hand."""


@dataclass(frozen=True)
class Confirmation:
    """What an interleaved re-run of the last good build against the first bad one has said of a change."""

    series: str
    first_bad: date
    result: ConfirmationResult
    reason: str
    run_id: str | None
    """Of the re-run; None: there was none."""
    at: datetime
    """UTC."""

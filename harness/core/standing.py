"""How runs and trials of a farm stand, and what became of a record: words that board, database and wire share."""

from __future__ import annotations

from enum import StrEnum


class RunStanding(StrEnum):
    """Of a run."""

    ACTIVE = "active"
    DONE = "done"
    CANCELLED = "cancelled"


class TrialStanding(StrEnum):
    """Of a trial of a farm's run; of a record see `record.TrialState`."""

    WAITING = "waiting"
    """Its attempt's number is the next one's."""
    RUNNING = "running"
    DONE = "done"
    """It has its result, and stays so."""
    GIVEN_UP = "given_up"


class GivenUpBy(StrEnum):
    """What it was that left a trial without a result."""

    LOST = "lost"
    """Phone, host or process, at every attempt."""
    REFUSED = "refused"
    """It was not begun, and would not be elsewhere: preflight says no, or what it needs is not there."""
    CANCELLED = "cancelled"
    """Nobody wanted it any more."""


class Kept(StrEnum):
    """What became of a record that a host delivered."""

    RESULT = "result"
    """It is the trial's."""
    EVIDENCE = "evidence"
    """It is kept, and does not count: another attempt does, or will; or nobody asked for it."""
    ALREADY = "already"
    """It was kept before, as the one or the other."""

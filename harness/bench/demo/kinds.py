"""What can be planted, and where a page tells of it."""

from __future__ import annotations

from enum import StrEnum


class Plant(StrEnum):
    """What is planted."""

    STEP = "step"
    """A level is another one, for the worse or the better."""
    DEATH = "death"
    """The case does not load any more."""
    FLAKY = "flaky"
    """Some trials of most nights die."""
    RECOVERY = "recovery"
    """The case had died for a while, and loads again."""
    ABSENT = "absent"
    """The case is not run, or the phone spoils its trials."""
    AWAY = "away"
    """The phones of a class are not there."""
    LINE = "line"
    """Another iOS, engine or model file: what comes after is a segment of its own."""


class Told(StrEnum):
    """Where the page of the last night tells of it."""

    TONIGHT = "tonight"
    """It could first be told last night."""
    OPEN = "open"
    """It could be told earlier, and nobody has said anything."""
    ABSENT = "absent"
    """It is missing since an earlier night."""
    BETTER = "better"
    """For the better, told for some nights."""
    NOTE = "note"
    """Something else is measured than before: neither better nor worse."""
    KNOWN = "known"
    """Somebody has said that it is known, or accepted; or a re-run has refuted it."""
    HISTORY = "history"
    """Only the series' own pages show it."""

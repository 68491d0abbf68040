"""How a run uses a phone and this host, beside what its suite says; each has its flag and its pytest option."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Long enough for somebody else's suite; a phone that is busy longer is a matter for a scheduler.
LEASE_WAIT_S = 3600.0


class PreflightMode(StrEnum):
    RECORD = "record"
    """The prediction is kept with the record; the trial is run whatever it says."""
    STOP = "stop"
    """A trial whose model will not load is not run, unless the suite expects it not to load."""
    OFF = "off"


@dataclass(frozen=True)
class RunOptions:
    """Defaults are what `harness run` does without flags."""

    runner: tuple[str, ...] = ("auto",)
    """`auto`, `python` or `swift`, or the paths of signed `.ipa`s, one a variant."""
    transport: str = "auto"
    """`auto`, or the name of the client library that does whatever it can do on the phone."""
    keep: tuple[str, ...] = ()
    """Models (name of the file, or the begin of its digest) that are never evicted from the phone."""
    preflight: PreflightMode | None = None
    """Instead of what the suite says."""
    lease_wait_s: float = LEASE_WAIT_S
    """How long to wait for a phone that another process uses."""
    build: str | None = None
    """Name of what is under test, for the record."""

"""How a run uses a phone and this host, beside what its suite says; each has its flag and its pytest option."""

from __future__ import annotations

from dataclasses import dataclass

# Long enough for somebody else's suite; a phone that is busy longer is a matter for a scheduler.
LEASE_WAIT_S = 3600.0


@dataclass(frozen=True)
class RunOptions:
    """Defaults are what `harness run` does without flags."""

    runner: str = "auto"
    """`auto`, `python`, `swift`, or the path of a signed `.ipa`."""
    transport: str = "auto"
    """`auto`, or the name of the client library that does whatever it can do on the phone."""
    keep: tuple[str, ...] = ()
    """Models (name of the file, or the begin of its digest) that are never evicted from the phone."""
    lease_wait_s: float = LEASE_WAIT_S
    """How long to wait for a phone that another process uses."""

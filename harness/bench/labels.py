"""What every record of a run's trials is marked with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Labels:
    """Columns of the same names."""

    run_id: str
    build: str | None = None
    """Of what is under test, as the run's user names it."""
    arm: str | None = None
    """Side of an interleaved comparison, `a` or `b`; None: a run of a suite."""
    host_name: str | None = None
    """Of this machine, where a farm calls it otherwise; None: its own."""

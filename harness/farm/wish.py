"""How a suite is to be run in a farm, beside what it says itself. Light: Dask is not imported for it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.bench.run_options import RunOptions


@dataclass(frozen=True)
class Wish:
    """As flags of `harness run` say it."""

    words: tuple[str, ...]
    """Device words."""
    options: RunOptions
    priority: int = 0
    attempts: int = 3
    """At each trial, when its phone is lost under it."""
    each: bool = False
    """Each phone that is meant runs the whole suite."""

"""The command's exit codes; 0 is done."""

from __future__ import annotations

from collections.abc import Iterable

from harness.core.outcome import Family

MODEL_FAILED = 1
WRONG_USE = 2
DEVICE = 3
HARNESS = 4
INTERRUPTED = 130
"""As a shell reports a program that SIGINT ended."""
_OF_FAMILY = {Family.HOST: HARNESS, Family.DEVICE: DEVICE}


def of_families(families: Iterable[Family]) -> int:
    """The worst of what trials that did not end as expected stand for; 0 where there are none."""
    return max((_OF_FAMILY.get(family, MODEL_FAILED) for family in families), default=0)

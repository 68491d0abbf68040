"""Which attempts at a trial stand for it, and which are evidence only. Pure; the one rule for tables and records."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


def replaced(attempts: Iterable[tuple[Hashable, int, bool]]) -> list[bool]:
    """Of attempts, each with its trial, its number and whether it was cut short: whether another stands in its place.

    It does where a later attempt was made at the trial, and where one was not cut short, whatever its number: in a
    farm an attempt that was given up may come home late. What was not cut short is never replaced.
    """
    known: Sequence[tuple[Hashable, int, bool]] = list(attempts)
    latest: dict[Hashable, int] = {}
    whole: set[Hashable] = set()
    for trial, number, cut_short in known:
        latest[trial] = max(number, latest.get(trial, number))
        if not cut_short:
            whole.add(trial)
    return [cut_short and (number < latest[trial] or trial in whole) for trial, number, cut_short in known]

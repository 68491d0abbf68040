"""Finds the largest of some values that works, by bisection over repeated trials. Pure: knows no phone, only answers.

Assumed: what works at a value works at every smaller one. Where the answers contradict that, the result says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

CONFIDENCE = 0.95
"""Of the lower bound: how sure one may be that the true share is not below it."""
_BOUND_STEPS = 60
"""Halvings of an interval of length 1: far below anything that is printed."""


@dataclass(frozen=True)
class Tally:
    """What the trials of one value gave."""

    value: int
    worked: int
    trials: int

    @property
    def lower_bound(self) -> float:
        """The share of all trials of this value that work at least (see `share_at_least`)."""
        return share_at_least(self.worked, self.trials)


@dataclass(frozen=True)
class Contradiction:
    """Not monotone: the smaller value failed (at least once), the larger one worked (at least once)."""

    smaller: Tally
    larger: Tally


@dataclass(frozen=True)
class FitResult:
    """`best` is the largest value that works; None: not even the smallest does."""

    best: Tally | None
    next_larger: Tally | None
    """The value after it, which does not work; None: `best` is the largest that was asked about."""
    tallies: tuple[Tally, ...]
    """Of every value tried, from the smallest."""
    contradictions: tuple[Contradiction, ...]


class Bisection:
    """Asks for trials of one value after another; `next_value` is None when the answer is there.

    A value works when most of its trials do (of an even number more than half), and is left as soon as no further
    trial could change that. The two values that the answer rests on are tried in full at the end.
    Distinct values asked for: at most 1 + ceil(log2(len(values))).
    """

    def __init__(self, values: Sequence[int], repeats: int = 1) -> None:
        """`values` ascend. Raises ValueError for none, for such that do not, and for fewer than one repeat."""
        if not values or any(after <= before for before, after in pairwise(values)):
            raise ValueError("a bisection needs values that ascend, at least one")
        if repeats < 1:
            raise ValueError("a bisection needs at least one trial of a value")
        self._values = tuple(values)
        self._repeats = repeats
        self._needed = repeats // 2 + 1
        self._answers: dict[int, list[bool]] = {}
        # largest place that works, smallest that does not; outside the values while none is known
        self._works, self._fails = -1, len(values)

    def next_value(self) -> int | None:
        """The value to be tried next; the same until its trial is noted. None: the answer is there."""
        place = self._next_place()
        return None if place is None else self._values[place]

    def note(self, value: int, worked: bool) -> None:
        """The outcome of one trial. Raises ValueError for another value than the one asked for."""
        place = self._next_place()
        if place is None or self._values[place] != value:
            raise ValueError(f"no trial of {value} was asked for")
        answers = self._answers.setdefault(place, [])
        answers.append(worked)
        if sum(answers) >= self._needed:
            self._works = max(self._works, place)
        elif len(answers) - sum(answers) > self._repeats - self._needed:
            self._fails = min(self._fails, place)

    @property
    def result(self) -> FitResult | None:
        """None while trials are still asked for."""
        if self._next_place() is not None:
            return None
        tallies = {place: self._tally(place) for place in sorted(self._answers)}
        contradictions = tuple(
            Contradiction(smaller, larger)
            for smaller, larger in combinations(tallies.values(), 2)
            if smaller.worked < smaller.trials and larger.worked
        )
        return FitResult(tallies.get(self._works), tallies.get(self._fails), tuple(tallies.values()), contradictions)

    def _tally(self, place: int) -> Tally:
        answers = self._answers[place]
        return Tally(self._values[place], sum(answers), len(answers))

    def _next_place(self) -> int | None:
        largest = len(self._values) - 1
        # the largest first: where it works, nothing else has to be tried
        if self._fails > largest and self._works < largest:
            return largest
        if self._fails - self._works > 1:
            return (self._works + self._fails) // 2
        rests_on = (place for place in (self._works, self._fails) if 0 <= place <= largest)
        return next((place for place in rests_on if len(self._answers[place]) < self._repeats), None)


def most_values(count: int) -> int:
    """The most distinct values that a bisection over `count` values asks for."""
    return 1 + math.ceil(math.log2(count))


def share_at_least(worked: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The lower bound of a share of which `worked` of `trials` were seen: the exact binomial one (Clopper-Pearson).

    One-sided: the true share lies below it with a chance of at most 1 - confidence. 3 of 3 give 0.37, 10 of 10 give
    0.74; no small number of trials proves much. Raises ValueError for counts that cannot be.
    """
    if not 0 <= worked <= trials or trials < 1:
        raise ValueError(f"{worked} of {trials} trials cannot be")
    if worked == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_BOUND_STEPS):
        share = (low + high) / 2
        chance = sum(
            math.comb(trials, count) * share**count * (1 - share) ** (trials - count)
            for count in range(worked, trials + 1)
        )
        low, high = (share, high) if chance < 1 - confidence else (low, share)
    return low

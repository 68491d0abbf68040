"""In which order two sides take their turns on a phone. Pure.

Blocks of A B B A or B A A B, by lot: whatever drifts steadily (a phone that warms up, a host that gets busier) weighs
on both sides alike, and what comes and goes regularly does not always meet the same one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TRIALS = 10
"""Of each side. With 10, a shift of 5 % in a figure that scatters by 3 % is seen in about 80 of 100 comparisons."""
DEFAULT_WARM_UPS = 1
"""Of each side and case: what comes first finds the file cache empty and the app just installed."""
DEFAULT_CONFIRMED = 3
"""Changes that are re-run at most: a night that breaks everything has one cause, and the phone has other work."""


class Arm(StrEnum):
    """Side of a comparison; the column `arm`."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Arm:
        return Arm.B if self is Arm.A else Arm.A


@dataclass(frozen=True)
class Turn:
    arm: Arm
    ordinal: int
    """From 1; 0 and below: a warm-up."""


def turns_of(trials: int, warm_ups: int, seed: str) -> list[Turn]:
    """The turns of one case: each side's warm-ups, then `trials` of each side. The same seed, the same order."""
    dice = random.Random(seed)  # noqa: S311  # an order, no secret
    order = [Turn(arm, ordinal) for arm in Arm for ordinal in range(1 - warm_ups, 1)]
    for first in range(1, trials + 1, 2):
        leader = dice.choice(list(Arm))
        order += [Turn(leader, first), Turn(leader.other, first)]
        if first < trials:
            order += [Turn(leader.other, first + 1), Turn(leader, first + 1)]
    return order

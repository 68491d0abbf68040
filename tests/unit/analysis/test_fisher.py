"""The one-sided exact test of two shares, beside the same in whole numbers."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from harness.analysis.fisher import chance_of_as_many


@pytest.mark.parametrize(
    ("hits", "of", "other_hits", "of_other"),
    [(8, 10, 3, 12), (0, 5, 0, 5), (5, 5, 0, 5), (1, 1, 0, 99), (3, 10, 9, 10), (40, 900, 11, 4000), (2, 5, 5, 5)],
)
def test_as_whole_numbers_say(hits: int, of: int, other_hits: int, of_other: int) -> None:
    all_hits, total = hits + other_hits, of + of_other
    ways = sum(
        comb(all_hits, count) * comb(total - all_hits, of - count) for count in range(hits, min(all_hits, of) + 1)
    )
    assert chance_of_as_many(hits, of, other_hits, of_other) == pytest.approx(
        float(Fraction(ways, comb(total, of))), rel=1e-9
    )

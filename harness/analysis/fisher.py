"""Fisher's exact test, one-sided: are there more hits on one side than chance deals to it? Pure."""

from __future__ import annotations

from math import exp, lgamma


def chance_of_as_many(hits: int, of: int, other_hits: int, of_other: int) -> float:
    """Probability of `hits` or more among `of` draws, if these and the other side's `of_other` came from one urn.

    By logarithms, to about twelve digits: years of nights are thousands of trials, whose whole numbers take seconds.
    """
    all_hits, total = hits + other_hits, of + of_other
    whole = _log_comb(total, of)
    counts = range(hits, min(all_hits, of) + 1)
    # more hits than the urn has misses for the rest of the draws cannot be drawn otherwise
    possible = (count for count in counts if of - count <= total - all_hits)
    return sum(exp(_log_comb(all_hits, count) + _log_comb(total - all_hits, of - count) - whole) for count in possible)


def _log_comb(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)

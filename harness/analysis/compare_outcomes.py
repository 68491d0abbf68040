"""How the trials of two sides ended, compared before any figure: a model that loaded and now dies is the loudest alarm.

Pure; may know only `core`, `fisher` and the words of `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.analysis.compare import MAX_P
from harness.analysis.fisher import chance_of_as_many
from harness.core.judgement import VerdictKind
from harness.core.outcome import Outcome, ends_text

MIN_ALL = 2
"""Trials of each side, all of which loaded on one and none on the other, that are no accident."""
SAYS_NOTHING = frozenset(one.value for one in Outcome if not one.is_about_model)
"""Outcomes that are not about the model."""


@dataclass(frozen=True)
class OutcomeComparison:
    verdict: VerdictKind
    words: str
    a: Mapping[str, int]
    """Outcome → count, all that ended."""
    b: Mapping[str, int]
    p: float | None = None
    """Of a difference at least this large in this direction, by Fisher's exact test; None: nothing to test."""


def judge_outcomes(a: Mapping[str, int], b: Mapping[str, int]) -> OutcomeComparison:
    """B against A, by the trials that say something about the model."""
    of_a, of_b = _telling(a), _telling(b)
    for name, side, telling in (("A", a, of_a), ("B", b, of_b)):
        if not telling:
            words = f"no trial of {name} says anything about the model: {outcome_words(side)}"
            return OutcomeComparison(VerdictKind.INCOMPARABLE, words, a, b)
    loaded_a, loaded_b = of_a.get(Outcome.LOADED, 0), of_b.get(Outcome.LOADED, 0)
    total_a, total_b = sum(of_a.values()), sum(of_b.values())
    words = f"{outcome_words(of_a)} → {outcome_words(of_b)}"
    if loaded_a * total_b == loaded_b * total_a:
        same = of_a.keys() == of_b.keys()
        return OutcomeComparison(VerdictKind.SAME, "" if same else f"another end: {words}", a, b)
    worse = loaded_b * total_a < loaded_a * total_b
    fewer, more = ((loaded_b, total_b), (loaded_a, total_a)) if worse else ((loaded_a, total_a), (loaded_b, total_b))
    p = chance_of_as_many(*more, *fewer)
    all_or_none = fewer[0] == 0 and more[0] == more[1] and min(total_a, total_b) >= MIN_ALL
    if p >= MAX_P and not all_or_none:
        return OutcomeComparison(VerdictKind.NOISY, f"{words}: may be chance, take more trials", a, b, p)
    return OutcomeComparison(VerdictKind.REGRESSED if worse else VerdictKind.IMPROVED, words, a, b, p)


def outcome_words(counts: Mapping[str, int]) -> str:
    """`9 × loaded, 1 × jetsam`, most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ends_text(ranked) or "none"


def _telling(counts: Mapping[str, int]) -> dict[str, int]:
    return {str(outcome): count for outcome, count in counts.items() if outcome not in SAYS_NOTHING}

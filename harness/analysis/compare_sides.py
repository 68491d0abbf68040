"""Two sides of a comparison, case by case: may they be compared, how did they end, and which figures differ.

Frames of trials in (the columns of a record), a judgement out. Pure; may know only `core` and this room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.compare import Comparison, judge_together
from harness.analysis.compare_outcomes import OutcomeComparison, judge_outcomes
from harness.analysis.metrics import Metric
from harness.analysis.rank_test import Values
from harness.analysis.series import CONTEXT, IDENTITY, OS_MAJOR
from harness.core.judgement import VerdictKind
from harness.core.outcome import Outcome
from harness.core.record import TrialState

if TYPE_CHECKING:
    import pandas as pd

DEVICE_COLUMNS = ("device_kind", "device_product_type")
_DIGEST_CHARS = 12
_MAX_VALUES = 4
"""Values of a column that a line names."""


class About(StrEnum):
    """What the two sides are allowed to differ in, since that is what is compared; the app's build always is."""

    ENGINE = "engine"
    MODEL = "model"
    IOS = "ios"
    SETTINGS = "settings"
    VARIANT = "variant"
    OPTIONS = "options"


_OF_GROUP: dict[About, frozenset[str]] = {
    About.ENGINE: frozenset({"engine", "engine_version"}),
    About.MODEL: frozenset({"model_sha256"}),
    About.IOS: frozenset({OS_MAJOR}),
    About.SETTINGS: frozenset({"device_settings"}),
    About.VARIANT: frozenset({"app_variant"}),
}
_GROUPED = frozenset().union(*_OF_GROUP.values())
_TOLD = {name: words for name, words in CONTEXT.items() if name != "build"}
"""Columns that may differ between sides that can be compared, and are told when they do."""


def group_of(column: str) -> About:
    """Which word of `--about` lets a column differ."""
    return next((group for group, columns in _OF_GROUP.items() if column in columns), About.OPTIONS)


@dataclass(frozen=True)
class CaseComparison:
    """One case on one device class; of two suites with a case each, the two names may differ."""

    case_a: str
    case_b: str
    device: str
    """`iPhone17,1 (virtual)`."""
    problems: tuple[str, ...]
    """Why the sides cannot be compared; then there is nothing below."""
    notes: tuple[str, ...] = ()
    """What else differs, and may be at fault or be what is compared."""
    outcomes: OutcomeComparison | None = None
    metrics: tuple[Comparison, ...] = ()

    @property
    def case(self) -> str:
        return self.case_a if self.case_a == self.case_b else f"{self.case_a} → {self.case_b}"

    @property
    def verdict(self) -> VerdictKind:
        """The worst thing that can be said: a regression, then that nothing can be said."""
        if self.problems or self.outcomes is None:
            return VerdictKind.INCOMPARABLE
        found = {self.outcomes.verdict, *(one.verdict for one in self.metrics)}
        if VerdictKind.REGRESSED in found:
            return VerdictKind.REGRESSED
        figures = {one.verdict for one in self.metrics} - {VerdictKind.MISSING}
        if self.outcomes.verdict is VerdictKind.INCOMPARABLE or figures == {VerdictKind.INCOMPARABLE}:
            return VerdictKind.INCOMPARABLE
        if VerdictKind.IMPROVED in found:
            return VerdictKind.IMPROVED
        if self.outcomes.verdict is VerdictKind.NOISY or figures == {VerdictKind.NOISY}:
            return VerdictKind.NOISY
        return VerdictKind.SAME


@dataclass(frozen=True)
class SidesComparison:
    cases: tuple[CaseComparison, ...]
    only_a: tuple[str, ...]
    """Cases that B does not have: what they were good for is no longer watched."""
    only_b: tuple[str, ...]
    interleaved: bool
    """Whether the two sides took turns on one phone; else the night and the phone are part of every difference."""

    @property
    def verdict(self) -> VerdictKind:
        """Of all cases: regressed, incomparable where some case cannot be judged, else the best that is true of all."""
        found = {one.verdict for one in self.cases}
        if VerdictKind.REGRESSED in found:
            return VerdictKind.REGRESSED
        if self.only_a:
            return VerdictKind.MISSING
        if not found or VerdictKind.INCOMPARABLE in found:
            return VerdictKind.INCOMPARABLE
        for verdict in (VerdictKind.IMPROVED, VerdictKind.NOISY):
            if verdict in found:
                return verdict
        return VerdictKind.SAME


def compare_sides(
    a: pd.DataFrame,
    b: pd.DataFrame,
    metrics: Sequence[Metric],
    *,
    about: Iterable[About] = (),
    match_single: bool = False,
) -> SidesComparison:
    """B against A. Counted are done trials: no warm-ups, no attempts that were replaced.

    Cases are matched by name; with `match_single` the only case of A is also matched to the only case of B. Figures
    are of trials that loaded.
    """
    interleaved = _took_turns(a, b)
    a, b = _counted(a), _counted(b)
    names_a, names_b = _names(a), _names(b)
    pairs = [(name, name) for name in names_a if name in names_b]
    if not pairs and match_single and len(names_a) == len(names_b) == 1:
        pairs = [(names_a[0], names_b[0])]
    matched_a, matched_b = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    drafts = [
        draft
        for name_a, name_b in pairs
        for draft in _drafts(name_a, name_b, a[a["case"] == name_a], b[b["case"] == name_b], frozenset(about))
    ]
    return SidesComparison(
        tuple(_judged(drafts, metrics)),
        tuple(name for name in names_a if name not in matched_a),
        tuple(name for name in names_b if name not in matched_b),
        interleaved,
    )


@dataclass(frozen=True)
class _Draft:
    bare: CaseComparison
    a: pd.DataFrame
    b: pd.DataFrame


def _counted(trials: pd.DataFrame) -> pd.DataFrame:
    from harness.analysis.summary import counted

    done = trials["state"].eq(TrialState.DONE.value) & trials["outcome"].notna()
    kept = counted(trials[done.fillna(False).astype(bool)])
    return kept.assign(**{OS_MAJOR: kept["device_os_version"].str.partition(".")[0]}) if len(kept) else kept


def _took_turns(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    runs = [set(side["run_id"]) for side in (a, b)]
    arms = [set(side["arm"].dropna()) for side in (a, b)]
    whole = not (a["arm"].isna().any() or b["arm"].isna().any())
    return whole and runs[0] == runs[1] and len(runs[0]) == 1 and all(len(arm) == 1 for arm in arms)


def _names(trials: pd.DataFrame) -> list[str]:
    return [str(name) for name in dict.fromkeys(trials["case"])]


def _drafts(name_a: str, name_b: str, a: pd.DataFrame, b: pd.DataFrame, about: frozenset[About]) -> list[_Draft]:
    devices_a, devices_b = _devices(a), _devices(b)
    common = [device for device in devices_a if device in devices_b]
    if not common:
        told_a, told_b = (", ".join(map(_device_words, devices)) for devices in (devices_a, devices_b))
        problem = f"A ran on {told_a}, B on {told_b}: figures of different device classes are never compared"
        return [_Draft(CaseComparison(name_a, name_b, told_a, (problem,)), a, b)]
    found = []
    for device in common:
        here_a, here_b = _on(a, device), _on(b, device)
        problems, notes = _differences(here_a, here_b, about)
        found.append(_Draft(CaseComparison(name_a, name_b, _device_words(device), problems, notes), here_a, here_b))
    return found


def _devices(trials: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(*(trials[name].astype(str) for name in DEVICE_COLUMNS), strict=True)))


def _on(trials: pd.DataFrame, device: tuple[str, str]) -> pd.DataFrame:
    return trials[(trials["device_kind"] == device[0]) & (trials["device_product_type"] == device[1])]


def _device_words(device: tuple[str, str]) -> str:
    return f"{device[1]} ({device[0]})"


def _differences(a: pd.DataFrame, b: pd.DataFrame, about: frozenset[About]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What makes the comparison invalid, and what is only told."""
    problems, notes = [], []
    for column, words in IDENTITY.items():
        of_a, of_b = _values(a, column), _values(b, column)
        group = group_of(column)
        if group in about:
            if of_a != of_b:
                notes.append(f"{words}: {_shown(of_a)} → {_shown(of_b)} (compared)")
            continue
        mixed = [name for name, values in (("A", of_a), ("B", of_b)) if len(values) > 1]
        if mixed:
            problems.append(f"{' and '.join(mixed)} mixed: {words} {_shown(of_a | of_b)}")
        elif of_a and of_b and of_a != of_b:
            allow = f"if that is what you compare: --about {group}"
            problems.append(f"{words}: {_shown(of_a)} → {_shown(of_b)}; {allow}")
    for column, words in _TOLD.items():
        of_a, of_b = _values(a, column), _values(b, column)
        if of_a != of_b and of_a and of_b:
            notes.append(f"{words}: {_shown(of_a)} → {_shown(of_b)}")
    return tuple(problems), tuple(notes)


def _values(trials: pd.DataFrame, column: str) -> frozenset[str]:
    """What a side has in a column; what no trial knows differs from nothing.

    Except where none is a value of its own, as `no guard`: only options have that.
    """
    values = {str(value) for value in trials[column].dropna()}
    if trials[column].isna().any() and column in IDENTITY and column not in _GROUPED:
        values.add("none")
    return frozenset(values)


def _shown(values: frozenset[str]) -> str:
    named = [value if len(value) != 64 else value[:_DIGEST_CHARS] for value in sorted(values)]
    more = f" and {len(named) - _MAX_VALUES} more" if len(named) > _MAX_VALUES else ""
    return ", ".join(value or "none" for value in named[:_MAX_VALUES]) + more if named else "unknown"


def _judged(drafts: Sequence[_Draft], metrics: Sequence[Metric]) -> Iterable[CaseComparison]:
    """All figures of all cases are one family: the more are looked at, the more chance has to strike."""
    sound = [draft for draft in drafts if not draft.bare.problems]
    judged = judge_together(
        [(_figures(draft.a, metric), _figures(draft.b, metric), metric) for draft in sound for metric in metrics]
    )
    of_case = {id(draft): judged[at * len(metrics) : (at + 1) * len(metrics)] for at, draft in enumerate(sound)}
    for draft in drafts:
        bare = draft.bare
        if bare.problems:
            yield bare
            continue
        outcomes = judge_outcomes(_outcomes(draft.a), _outcomes(draft.b))
        yield CaseComparison(bare.case_a, bare.case_b, bare.device, (), bare.notes, outcomes, tuple(of_case[id(draft)]))


def _figures(trials: pd.DataFrame, metric: Metric) -> Values:
    loaded = trials[trials["outcome"].eq(Outcome.LOADED.value).fillna(False).astype(bool)]
    values: Values = loaded[metric.name].dropna().to_numpy(dtype=np.float64)
    return values


def _outcomes(trials: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(count) for name, count in trials["outcome"].value_counts().items()}

"""Outcomes as a series: what became of a case's trials, night by night, and when that changed.

A night's outcome is what most of its trials did. Trials that the phone or the host spoilt say nothing about the model.
Pure; may know only `core`, `fisher` and `series`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from itertools import accumulate

from harness.analysis.fisher import chance_of_as_many
from harness.analysis.series import Night
from harness.core.outcome import Family, Outcome

FEWEST_DEATHS = 2
"""A single death is no proof; two of two in one night, or one in each of two nights, are."""
FLAKY_P = 1e-4
"""One-sided Fisher test of the deaths since a night against those before; asked anew every night, hence so strict."""
FLAKY_QUIET_NIGHTS = 7
"""So many nights without a death, and a case is no longer flaky."""


class Fate(IntEnum):
    """How a trial ended, as far as the model is concerned; more is worse."""

    LOADED = 0
    FELL_BACK = 1
    """On another backend than the one asked for."""
    DIED = 2


_FATES = {
    Family.MEASURED: Fate.LOADED,
    Family.MODEL: Fate.DIED,
    Family.DEVICE: None,
    Family.HOST: None,
}
_FATE_OF_OUTCOME = {outcome.value: _FATES[outcome.family] for outcome in Outcome}
_FATE_OF_OUTCOME[Outcome.FELL_BACK.value] = Fate.FELL_BACK


def fate_of(outcome: str) -> Fate | None:
    """None: the trial says nothing about the model. Raises KeyError for what is no outcome."""
    return _FATE_OF_OUTCOME[outcome]


@dataclass(frozen=True)
class OutcomeNight:
    """What became of the trials of one night that say something about the model."""

    night: date
    place: int
    """Of the night among those handed in."""
    fates: Mapping[Fate, int]
    outcomes: Mapping[str, int]
    """Only those that say something about the model."""

    @property
    def trials(self) -> int:
        return sum(self.fates.values())

    @property
    def most(self) -> Fate:
        """What most trials did; of two that are as many, the worse."""
        return max(self.fates, key=lambda fate: (self.fates[fate], fate))

    @property
    def mixed(self) -> bool:
        return len(self.fates) > 1

    @property
    def worst(self) -> Fate:
        return max(self.fates)

    @property
    def worse_than_loaded(self) -> int:
        return sum(count for fate, count in self.fates.items() if fate is not Fate.LOADED)

    def outcome_of(self, fate: Fate) -> str:
        """The most frequent outcome of that fate."""
        of_fate = {name: count for name, count in self.outcomes.items() if fate_of(name) is fate}
        return max(of_fate, key=lambda name: of_fate[name])

    @property
    def words(self) -> str:
        """`loaded`, `3 of 5 died (jetsam)`."""
        if not self.mixed:
            return self.outcome_of(self.most)
        worst = self.worst
        return f"{self.fates[worst]} of {self.trials} {self.outcome_of(worst)}"


@dataclass(frozen=True)
class OutcomeChange:
    """The case's usual end is another one since a night."""

    place: int
    """Of its first night among those handed in."""
    since: date
    last_before: date
    before: str
    after: str
    worse: bool
    flaky: bool
    """What was always one end is now sometimes one and sometimes another."""
    share_after: float
    """Of the trials since then, how many ended as `after`."""


@dataclass(frozen=True)
class OutcomeLevel:
    """As of the last night handed in."""

    nights: tuple[OutcomeNight, ...]
    """Those that say something."""
    changes: tuple[OutcomeChange, ...]
    """Oldest first."""
    tonight_mixed: bool
    """Some trials of the last night ended otherwise than the others."""


def nights_of(nights: Sequence[Night]) -> list[OutcomeNight]:
    """Nights with their places; those of which no trial says anything about the model are left out."""
    told = []
    for place, night in enumerate(nights):
        outcomes = {name: count for name, count in night.outcomes.items() if fate_of(name) is not None}
        fates: dict[Fate, int] = {}
        for name, count in outcomes.items():
            fate = fate_of(name)
            assert fate is not None, "left out above"
            fates[fate] = fates.get(fate, 0) + count
        if fates:
            told.append(OutcomeNight(night.night, place, fates, outcomes))
    return told


def outcome_level(nights: Sequence[Night]) -> OutcomeLevel:
    """What the nights of a segment, oldest first, say of the case's end."""
    told = nights_of(nights)
    changes: list[OutcomeChange] = []
    if told:
        changes = _clear_changes(told)
        flaky = _newly_flaky(told[_last_clear(changes, told) :])
        if flaky is not None:
            changes.append(flaky)
    return OutcomeLevel(tuple(told), tuple(changes), bool(told) and told[-1].mixed)


def _clear_changes(told: list[OutcomeNight]) -> list[OutcomeChange]:
    """Walks along the nights and holds the usual fate until nights of one other fate alone say that it is that.

    Nights with several fates prove nothing here: of a case that dies every fifth time, most trials of some night do.
    """
    changes = []
    usual = told[0].most
    last_usual = told[0]
    against: list[OutcomeNight] = []
    for night in told[1:]:
        if night.mixed or night.most is usual:
            against = []
            last_usual = night if usual in night.fates else last_usual
            continue
        against = [*(one for one in against if one.most is night.most), night]
        better = night.most < usual
        if better or sum(one.trials for one in against) >= FEWEST_DEATHS:
            changes.append(_change(last_usual, usual, against[0], night.most, told))
            usual, last_usual, against = night.most, night, []
    return changes


def _change(
    last_usual: OutcomeNight, usual: Fate, first: OutcomeNight, fate: Fate, told: list[OutcomeNight]
) -> OutcomeChange:
    since = [night for night in told if night.place >= first.place]
    until = next((place for place, night in enumerate(since) if night.most is not fate), len(since))
    held = since[:until]
    share = sum(night.fates.get(fate, 0) for night in held) / sum(night.trials for night in held)
    return OutcomeChange(
        place=first.place,
        since=first.night,
        last_before=last_usual.night,
        before=last_usual.outcome_of(usual),
        after=first.outcome_of(fate),
        worse=fate > usual,
        flaky=share < 1,
        share_after=share,
    )


def _last_clear(changes: list[OutcomeChange], told: list[OutcomeNight]) -> int:
    """Where in `told` the present usual fate begins."""
    if not changes:
        return 0
    return next(index for index, night in enumerate(told) if night.place == changes[-1].place)


def _newly_flaky(told: list[OutcomeNight]) -> OutcomeChange | None:
    """A case that loaded and of which, since some night, more trials die than chance makes of the nights before.

    `told` begins with the night since which the case's usual end is what it is. A week without a death is its end.
    """
    if told[0].most is not Fate.LOADED or not any(n.worse_than_loaded for n in told[-FLAKY_QUIET_NIGHTS:]):
        return None
    bad = list(accumulate((night.worse_than_loaded for night in told), initial=0))
    all_trials = list(accumulate((night.trials for night in told), initial=0))
    chances = {
        place: chance_of_as_many(
            bad[-1] - bad[place], all_trials[-1] - all_trials[place], bad[place], all_trials[place]
        )
        for place in range(1, len(told))
        if told[place].worse_than_loaded
    }
    place = min(chances, key=lambda one: chances[one], default=None)
    if place is None or chances[place] >= FLAKY_P:
        return None
    first, before = told[place], told[place - 1]
    return OutcomeChange(
        place=first.place,
        since=first.night,
        last_before=before.night,
        before=Outcome.LOADED.value,
        after=first.outcome_of(first.worst),
        worse=True,
        flaky=True,
        share_after=(bad[-1] - bad[place]) / (all_trials[-1] - all_trials[place]),
    )

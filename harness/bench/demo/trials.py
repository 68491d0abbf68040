"""The demo's trials: which there are on each night, how they end, and their figures. Pure: records come of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time, timedelta
from itertools import count

import numpy as np
from numpy.typing import NDArray

from harness.analysis.metrics import METRIC_BY_NAME, Polarity, Quantity
from harness.bench.demo.builds import AppBuild, Builds
from harness.bench.demo.events import PlantedEvent
from harness.bench.demo.kinds import Plant
from harness.bench.demo.world import (
    CASES,
    CLASSES,
    LAST_NIGHT,
    TRIALS,
    DemoCase,
    DemoPhone,
    DeviceClass,
    Levels,
    levels_of,
    never_loads,
)
from harness.core.judgement import ConfirmationResult
from harness.core.outcome import Outcome

COMPARED_TRIALS = 10
"""Of each side of a re-run."""
COLUMNS = tuple(column.name for column in fields(Levels))
_BEGINS = time(1, 30)
"""Of the day after the one that the night is named by."""
_COMPARED_AT = time(9)
_EVERY = timedelta(seconds=55)
_BETWEEN = {Quantity.MEMORY: 0.0012, Quantity.TIME: 0.006}
_WITHIN = {Quantity.MEMORY: 0.0025, Quantity.TIME: 0.012}
"""Standard deviations of nights, and of trials within a night, as shares of the level."""
_SLOW_SHARE = 0.01
"""Of the trials, whose times are much longer."""
_LOST_SHARE = 0.002
_LOST_BEFORE = 10
"""Of the trials of earlier nights than these, that say nothing since the phone was in the way."""
_FLAKY_DEATHS = 2
_FLAKY_SHARE = 0.8

_METRICS = [METRIC_BY_NAME[name] for name in COLUMNS]
_IS_TIME = np.array([metric.quantity is Quantity.TIME for metric in _METRICS])
_IS_RATE = np.array([metric.polarity is Polarity.HIGHER_IS_BETTER for metric in _METRICS])
_NIGHT_SIGMA = np.array([_BETWEEN[metric.quantity] for metric in _METRICS])
_TRIAL_SIGMA = np.array([_WITHIN[metric.quantity] for metric in _METRICS])


@dataclass(frozen=True)
class DemoTrial:
    """All that a record is made of; `figures` are of a trial that loads, whether this one does or not."""

    run: str
    """Names it within the demo."""
    device: DeviceClass
    phone: DemoPhone
    case: DemoCase
    ago: int
    ordinal: int
    begin: datetime
    outcome: Outcome
    expected: Outcome
    figures: Mapping[str, float]
    app: AppBuild
    engine_version: str
    system: tuple[str, str]
    model_edition: int
    """Of the model's file."""
    kept: bool
    """Whether its telemetry and files are made."""
    arm: str | None = None


@dataclass(frozen=True)
class History:
    """The trials of all nights of a seed."""

    seed: int
    nights: int
    events: Sequence[PlantedEvent]
    of_a_night: int = TRIALS
    """Trials of a case."""

    def trials(self) -> Iterator[DemoTrial]:
        """Those of the series and then those of re-runs."""
        builds = Builds(self.seed, self.nights, self.events)
        phones = count()
        for device in CLASSES:
            for phone in device.phones:
                yield from self._of_phone(device, phone, next(phones), builds)
        for number, event in enumerate(one for one in self.events if one.confirmation is not None):
            yield from self._re_run(event, builds, number)

    def _of_phone(self, device: DeviceClass, phone: DemoPhone, place: int, builds: Builds) -> Iterator[DemoTrial]:
        cases = CASES[phone.first_case : phone.last_case + 1]
        shares = {case.name: self._shares(device, case, self.of_a_night) for case in cases}
        random = np.random.default_rng([self.seed, 4, place])
        chances = random.uniform(size=(self.nights, len(CASES), self.of_a_night + 1))
        delays_s = random.uniform(0, 300, size=self.nights)
        for ago in reversed(range(self.nights)):
            night = LAST_NIGHT - timedelta(days=ago)
            begin = datetime.combine(night + timedelta(days=1), _BEGINS, UTC)
            begin += timedelta(minutes=3 * place, seconds=float(delays_s[ago]))
            for column, case in enumerate(cases):
                here = [event for event in self.events if event.happens_to(device, case, ago)]
                if any(event.plant is Plant.AWAY or _not_run(event) for event in here):
                    continue
                ends = self._ends(device, case, ago, here, chances[ago, column])
                for ordinal in range(1, self.of_a_night + 1):
                    yield DemoTrial(
                        run=f"{phone.udid} {night}",
                        device=device,
                        phone=phone,
                        case=case,
                        ago=ago,
                        ordinal=ordinal,
                        begin=begin + (column * self.of_a_night + ordinal) * _EVERY,
                        outcome=ends[ordinal - 1],
                        expected=Outcome.JETSAM if never_loads(device, case) else Outcome.LOADED,
                        figures=_figures(device, case, here, shares[case.name][ago, ordinal - 1]),
                        app=builds.app(ago),
                        engine_version=builds.engine(ago),
                        system=builds.system(device, ago),
                        model_edition=1 + any(one.name == "new-model-file" for one in here),
                        kept=self._kept(device, case, ago),
                    )

    def _shares(self, device: DeviceClass, case: DemoCase, rows: int, stream: int = 3) -> NDArray[np.float64]:
        """Night, trial, column: by what a figure is off its level. Drawn for all nights, whatever happens on them."""
        random = np.random.default_rng([self.seed, stream, CLASSES.index(device), CASES.index(case)])
        nights = random.normal(0, _NIGHT_SIGMA, (self.nights, 1, len(COLUMNS)))
        trials = random.normal(0, _TRIAL_SIGMA, (self.nights, rows, len(COLUMNS)))
        slow = random.uniform(size=(self.nights, rows, 1)) < _SLOW_SHARE
        slowdown = 1 + slow * _IS_TIME * random.uniform(0.06, 0.25, size=(self.nights, rows, 1))
        shares: NDArray[np.float64] = (1 + nights + trials) * np.where(_IS_RATE, 1 / slowdown, slowdown)
        return shares

    def _ends(
        self,
        device: DeviceClass,
        case: DemoCase,
        ago: int,
        here: Sequence[PlantedEvent],
        chances: NDArray[np.float64],
    ) -> list[Outcome]:
        usual = Outcome.JETSAM if never_loads(device, case) else Outcome.LOADED
        ends = [usual] * self.of_a_night
        for event in here:
            if event.plant is Plant.FLAKY:
                if chances[self.of_a_night] < _FLAKY_SHARE or ago in (event.ago, event.until):
                    for place in np.argsort(chances[: self.of_a_night])[:_FLAKY_DEATHS]:
                        ends[int(place)] = event.outcome
            elif event.outcome is not Outcome.LOADED:
                ends = [event.outcome] * self.of_a_night
        if ago >= _LOST_BEFORE and all(event.case is None for event in here):
            ends = [Outcome.LOST if chance < _LOST_SHARE else end for end, chance in zip(ends, chances, strict=False)]
        return ends

    def _kept(self, device: DeviceClass, case: DemoCase, ago: int) -> bool:
        """The last night, and the nights before and after what happens to the case alone."""
        if ago == 0:
            return True
        return any(
            ago in (event.ago + 1, event.ago, event.until, event.until - 1)
            for event in self.events
            if event.device is device and event.case is case
        )

    def _re_run(self, event: PlantedEvent, builds: Builds, number: int) -> Iterator[DemoTrial]:
        """The last good build against the first bad one, in turns, in the morning after."""
        assert event.device is not None, "a re-run is of one case on one phone"
        assert event.case is not None, "a re-run is of one case on one phone"
        device, case, ago = event.device, event.case, event.ago
        phone = next(one for one in device.phones if one.first_case <= CASES.index(case) <= one.last_case)
        shares = self._shares(device, case, 2 * COMPARED_TRIALS, 5)[ago]
        lines = [one for one in self.events if one.happens_to(device, case, ago) and one is not event]
        worse = [*lines, event] if event.confirmation is ConfirmationResult.CONFIRMED else lines
        morning = LAST_NIGHT - timedelta(days=ago - 1)
        begin = datetime.combine(morning, _COMPARED_AT, UTC) + timedelta(minutes=number)
        ordinals = {"a": count(1), "b": count(1)}
        for turn, arm in enumerate("abba" * (COMPARED_TRIALS // 2)):
            yield DemoTrial(
                run=rerun_name(event),
                device=device,
                phone=phone,
                case=case,
                ago=ago,
                ordinal=next(ordinals[arm]),
                begin=begin + turn * _EVERY,
                outcome=Outcome.LOADED,
                expected=Outcome.LOADED,
                figures=_figures(device, case, worse if arm == "b" else lines, shares[turn]),
                app=builds.app(ago if arm == "b" else ago + 1),
                engine_version=builds.engine(ago),
                system=builds.system(device, ago),
                model_edition=1,
                kept=True,
                arm=arm,
            )


def rerun_name(event: PlantedEvent) -> str:
    """Of the re-run of a change."""
    return f"re-run {event.name}"


def _not_run(event: PlantedEvent) -> bool:
    return event.plant is Plant.ABSENT and event.outcome is Outcome.LOADED


def _figures(
    device: DeviceClass, case: DemoCase, here: Sequence[PlantedEvent], shares: NDArray[np.float64]
) -> dict[str, float]:
    levels = levels_of(device, case)
    figures = {name: getattr(levels, name) * float(share) for name, share in zip(COLUMNS, shares, strict=True)}
    for event in here:
        for name, factor in event.factors.items():
            figures[name] *= factor
    return figures

"""What a series of nightly figures says tonight: which changes of its level stand, and how much it could have seen.

Pure and fast: an array in, a value out; may know `change_points`, `metrics` and numpy. Segments, missing nights, builds
and triage are the business of `verdicts`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from harness.analysis.change_points import (
    Change,
    Detection,
    FloatArray,
    change_points,
    night_alarm,
    noise,
    relative_shift,
)
from harness.analysis.metrics import Metric, Quantity

SAME_CHANGE_NIGHTS = 3
"""Changes no further apart than this are one: where exactly a level changed is not known better."""
_ALARM_NIGHTS = 4
"""So many nights in a row may be alarms by themselves: then a week's median is of the new level."""
_SEEN_WITHIN_NIGHTS = 30
"""What is said to be found is found within so many."""


class AlarmBy(StrEnum):
    """What noticed a change."""

    CHANGE_POINT = "change point"
    """The levels of several nights differ."""
    SAME_NIGHT = "same night"
    """One night alone is far off the nights before it."""


@dataclass(frozen=True)
class DecisionOptions:
    """The numbers of the decision; docs/verdicts.md says why each."""

    detection: Detection = field(default_factory=Detection)
    memory_shift: float = 0.03
    """Share of the level; a smaller shift of memory is not reported."""
    memory_floor_bytes: int = 64 * 1024
    """Nor one of less than this: four pages of 16 KiB, of which footprints are made."""
    time_shift: float = 0.02
    """Share of the level; a smaller shift of a time or a rate is not reported. `detection` weighs its own noise."""
    alarm_shift: float = 0.10
    """Share of the level by which one night must be off to be an alarm alone."""
    alarm_deviations: float = 5.0
    """And by so many standard deviations of a night."""
    alarm_beyond: float = 1.5
    """And by so many times what any night before it was off both its neighbours: some metrics have wild nights."""
    alarm_quartile: float = 0.07
    """Share of the level by which the nearer quartile of the night's trials must be off too: most of them agree."""
    min_nights: int = 6
    """Of a segment; fewer are no series."""
    seen_deviations: float = 2.0
    """Standard deviations of a night that a step must have to be found all but surely, after many nights."""
    noisy_above: float = 0.10
    """A series in which only larger steps than this can be seen is noisy."""


@dataclass(frozen=True)
class Step:
    """A change of level that counts for its metric."""

    index: int
    """Place of the first night of the new level."""
    before: float
    after: float
    worse: bool
    by: AlarmBy

    @property
    def shift(self) -> float:
        """Share of the level before; positive is up; infinite from zero."""
        return relative_shift(self.before, self.after)

    def is_same_as(self, other: Step) -> bool:
        """Whether both mean one change, seen on different nights."""
        return self.worse == other.worse and abs(self.index - other.index) <= SAME_CHANGE_NIGHTS


@dataclass(frozen=True)
class Decision:
    """As of the last night handed in."""

    nights: int
    level: float
    """Median of the nights since the last change; NaN of no nights."""
    noise: float
    """Standard deviation of a night, as a share of the level."""
    detectable_shift: float
    """The smallest step that would all but surely be found, as a share of the level."""
    steps: tuple[Step, ...]
    """Every change in view, oldest first."""
    standing: tuple[Step, ...]
    """Those for the worse that nothing has made good since, oldest first."""
    recovered: tuple[tuple[Step, Step], ...]
    """Those for the worse that later changes have made good, each with that later change."""
    enough: bool
    """Whether there are enough nights to say anything."""
    noisy: bool
    """The noise hides steps that should be seen."""


def decide(
    nightly: FloatArray,
    metric: Metric,
    options: DecisionOptions | None = None,
    *,
    quartiles: FloatArray | None = None,
    tonight_short: bool = False,
) -> Decision:
    """Judges the nights of one segment, oldest first; nights without a figure are left out by the caller.

    `quartiles`: `[night, 2]`, lower and upper one of the night's trials; None: its median speaks for all of them.
    `tonight_short`: the last night is of too few trials to be an alarm alone.
    Raises `change_points.NotFinite` for a NaN or infinity.
    """
    options = options or DecisionOptions()
    nights = np.asarray(nightly, dtype=np.float64)
    if quartiles is None:
        quartiles = np.repeat(nights[:, None], 2, axis=1)
    recent = nights[-options.detection.window :]
    if recent.size < options.min_nights:
        level = float(np.median(recent)) if recent.size else math.nan
        return Decision(recent.size, level, 0.0, math.inf, (), (), (), enough=False, noisy=False)
    spread = noise(recent)
    steps = _level_steps(nights, metric, options)
    if not tonight_short:
        first = nights.size - recent.size
        alarm = _alarm(recent, quartiles[first:], metric, spread, options)
        if alarm is not None and not any(_covers(step, first + alarm.index, alarm) for step in steps):
            steps = (*steps, replace(alarm, index=first + alarm.index))
    level = float(np.median(nights[max(steps[-1].index if steps else 0, nights.size - recent.size) :]))
    relative = spread / abs(level) if level else 0.0
    detectable = _detectable_shift(int(recent.size), relative, metric, options)
    standing, recovered = _standing(steps, metric, options)
    return Decision(
        nights=int(recent.size),
        level=level,
        noise=relative,
        detectable_shift=detectable,
        steps=steps,
        standing=standing,
        recovered=recovered,
        enough=True,
        noisy=detectable > options.noisy_above,
    )


def _detectable_shift(nights: int, noise_share: float, metric: Metric, options: DecisionOptions) -> float:
    """The step that is found all but surely: beyond the smallest one that counts, and certain after few nights too."""
    error = noise_share * math.sqrt(1 / nights + 1 / _SEEN_WITHIN_NIGHTS)
    return max(
        _least_shift(metric, options) + noise_share / 2,
        options.seen_deviations * noise_share,
        (options.detection.min_errors + 1) * error,
    )


def _least_shift(metric: Metric, options: DecisionOptions) -> float:
    return options.memory_shift if metric.quantity is Quantity.MEMORY else options.time_shift


def _level_steps(nights: FloatArray, metric: Metric, options: DecisionOptions) -> tuple[Step, ...]:
    detection = replace(options.detection, min_shift=_least_shift(metric, options))
    return tuple(
        _step(change, metric, AlarmBy.CHANGE_POINT)
        for change in change_points(nights, options=detection)
        if abs(change.after - change.before) >= _floor(metric, options)
    )


def _covers(step: Step, night: int, alarm: Step) -> bool:
    # the alarm compares with a week, and the change may lie in that week: then both compare with one level
    of_old_level = abs(alarm.before - step.before) < abs(alarm.before - step.after)
    return step.worse == alarm.worse and of_old_level and night - step.index <= _ALARM_NIGHTS + SAME_CHANGE_NIGHTS


def _step(change: Change, metric: Metric, by: AlarmBy) -> Step:
    worse = metric.is_worse(change.before, change.after)
    return Step(change.index, change.before, change.after, worse, by)


def _floor(metric: Metric, options: DecisionOptions) -> float:
    """The smallest difference that counts however small the level is, in the metric's unit."""
    return options.memory_floor_bytes if metric.quantity is Quantity.MEMORY else 0.0


def _alarm(
    nights: FloatArray, quartiles: FloatArray, metric: Metric, spread: float, options: DecisionOptions
) -> Step | None:
    """Tonight alone, far off the nights before; of several such nights in a row the first."""
    # without the nights that may be the alarm's own
    wildest = _wildest(nights[:-_ALARM_NIGHTS])
    least = max(_floor(metric, options), options.alarm_deviations * spread, options.alarm_beyond * wildest)
    first: Step | None = None
    for back in range(_ALARM_NIGHTS):
        change = night_alarm(nights[: nights.size - back], options.alarm_shift)
        if change is None or abs(change.after - change.before) <= least:
            break
        step = _step(change, metric, AlarmBy.SAME_NIGHT)
        if not _trials_agree(step, quartiles[step.index], options) or (first is not None and first.worse != step.worse):
            break
        first = step
    return first


def _trials_agree(alarm: Step, quartiles: FloatArray, options: DecisionOptions) -> bool:
    """Whether the quarter of the night's trials nearest to the old level is off it, too; not just the middle one."""
    lower, upper = quartiles
    nearer = lower if alarm.after > alarm.before else upper
    shift = relative_shift(alarm.before, float(nearer))
    return abs(shift) > options.alarm_quartile and (shift > 0) == (alarm.shift > 0)


def _wildest(nights: FloatArray) -> float:
    """How far a single night was off the nearer one of its neighbours at most; a new level is no wild night."""
    if nights.size < 3:
        return 0.0
    middle = nights[1:-1]
    return float(np.abs(middle - np.median([nights[:-2], middle, nights[2:]], axis=0)).max())


def _standing(
    steps: tuple[Step, ...], metric: Metric, options: DecisionOptions
) -> tuple[tuple[Step, ...], tuple[tuple[Step, Step], ...]]:
    """Which changes for the worse stand, and which were made good since, and by what."""
    standing: list[Step] = []
    recovered: list[tuple[Step, Step]] = []
    for step in steps:
        if step.worse:
            standing.append(step)
            continue
        good = [one for one in standing if _is_back(one.before, step.after, metric, options)]
        recovered += [(one, step) for one in good]
        standing = [one for one in standing if one not in good]
    return tuple(standing), tuple(recovered)


def _is_back(before: float, now: float, metric: Metric, options: DecisionOptions) -> bool:
    """Whether a level is as good as an earlier one, or better, but for what is too small to count."""
    if not metric.is_worse(before, now):
        return True
    return abs(now - before) <= max(_least_shift(metric, options) * abs(before), _floor(metric, options))

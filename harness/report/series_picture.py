"""What the figures of a series show, as plain values, and where in them each night and each value is. No drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.core.units import BYTES_PER_UNIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

WIDTH = 860.0
"""Of a figure, in points, as all lengths here."""
LEFT = 14.0
RIGHT = 92.0
"""Room for the scale, at the side of the newest nights."""
HEIGHT = 220.0
"""Of the plot of a metric."""
STRIP = 34.0
"""From one strip of outcomes to the next."""
GAP_ROW = 14.0
"""Below the plot, for marks of nights without a figure."""
FEWEST_SLOTS = 28
"""Nights that the axis has room for at least: three nights are not drawn as bars as wide as a hand."""
_COMING_NIGHTS = 2
"""Room after the newest night, where the next ones are expected."""
_TICKS = 5
_ROOM = 0.06
"""Above and below the data, as a share of what is shown."""
_LEAST_SHOWN = 0.05
"""Share of the level that the scale shows at least: a figure that repeats to a thousandth is a flat line."""
_FINEST = {"tokens/s": 0.001}
"""What the scale shows at least, in the record's unit; of the others 1: they are whole numbers."""
_MOST_DIGITS = 8


@dataclass(frozen=True)
class Mark:
    """A night since which something is otherwise."""

    day: int
    """The night's ordinal as a date, as all days of figures."""
    text: str
    worse: bool | None
    """None: neither better nor worse, for another thing is measured."""


@dataclass(frozen=True)
class NightScale:
    """Where each night lies, in points from the figure's left edge."""

    first: int
    newest: int
    """The last night that there is; the axis goes a little beyond."""

    @classmethod
    def over(cls, days: Sequence[int]) -> NightScale:
        """From the first to the last of them; longer to the left where they are few."""
        newest = max(days)
        return cls(min(*days, newest - FEWEST_SLOTS + 1), newest)

    @property
    def last(self) -> int:
        return self.newest + max(_COMING_NIGHTS, (self.newest - self.first) // 50)

    @property
    def slot(self) -> float:
        return (WIDTH - LEFT - RIGHT) / (self.last - self.first + 1)

    def x(self, day: float) -> float:
        """The middle of the night's slot."""
        return LEFT + (day - self.first + 0.5) * self.slot

    def xs(self, days: Sequence[int]) -> FloatArray:
        return LEFT + (np.asarray(days, dtype=np.float64) - self.first + 0.5) * self.slot

    @property
    def right(self) -> float:
        return WIDTH - RIGHT


ABSENT = 0
"""Stands for a segment's number on nights on which the case did not run."""


@dataclass(frozen=True)
class Track:
    """The nights of one segment, oldest first; tuples go along with each other. Values are in the record's unit."""

    segment: int
    """Its number, from 1."""
    lane: int
    """0, or another number for what is measured beside another segment: it looks otherwise."""
    days: tuple[int, ...]
    """Nights as ordinals of their dates."""
    values: tuple[float | None, ...]
    lower: tuple[float | None, ...]
    upper: tuple[float | None, ...]
    short: tuple[bool, ...]


@dataclass(frozen=True)
class Level:
    """From the first night of a level to its last one."""

    first: int
    last: int
    value: float


@dataclass(frozen=True)
class Band:
    """Where the coming nights are expected."""

    first: int
    last: int
    low: float
    high: float


@dataclass(frozen=True)
class SeriesPicture:
    """All that the figure shows."""

    unit: str
    """Of the record: `bytes`, `ns`, `tokens/s`."""
    days: tuple[int, ...]
    """Every night that the axis must have, oldest first."""
    tracks: tuple[Track, ...]
    levels: tuple[Level, ...]
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]
    unmeasured: tuple[int, ...]
    """Nights on which the case ran and has no figure."""
    absent: tuple[int, ...]
    """Nights on which its suite ran without it."""
    lane_names: tuple[str, ...] = ()
    """What tells the lanes apart; empty: there is one."""

    @cached_property
    def scale(self) -> NightScale:
        return NightScale.over(self.days)

    @cached_property
    def values(self) -> ValueScale:
        shown = [one for track in self.tracks for column in (track.values, track.lower, track.upper) for one in column]
        shown += [one for band in self.bands for one in (band.low, band.high)]
        return ValueScale.over([one for one in shown if one is not None], self.unit)


@dataclass(frozen=True)
class Spot:
    """Where a night of a segment is: a stripe of the figure, in points from its upper left corner."""

    segment: int
    day: int
    x: float
    """Its middle."""
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class ValueScale:
    """The scale of the figures, in a unit that people read."""

    low: float
    high: float
    unit: str
    """In words."""
    short_unit: str
    per_unit: float
    """Of the record's unit."""
    ticks: tuple[float, ...]
    """In `unit`."""

    @classmethod
    def over(cls, values: Sequence[float], unit: str) -> ValueScale:
        """About the values, in the record's unit; not down to 0."""
        if not values:
            values = [0.0, 1.0]
        low, high = min(values), max(values)
        least = max(_LEAST_SHOWN * max(abs(low), abs(high)), _FINEST.get(unit, 1.0))
        missing = max(0.0, least - (high - low)) / 2
        room = _ROOM * max(high - low, least)
        bottom, top = low - missing - room, high + missing + room
        if low >= 0:
            bottom = max(bottom, 0.0)
        words, short, per = _reading_unit(unit, top)
        return cls(bottom, top, words, short, per, _nice_ticks(bottom / per, top / per))

    def y(self, values: Sequence[float | None]) -> NDArray[np.float64]:
        """Points above the plot's lower edge; NaN for None."""
        read = np.array([math.nan if one is None else one for one in values], dtype=np.float64)
        return (read - self.low) / (self.high - self.low) * HEIGHT

    @property
    def headline(self) -> str:
        """The unit, and where the scale begins."""
        begins = "the scale begins at 0" if self.low == 0 else "the scale does not begin at 0"
        return f"{self.unit}; {begins}"

    @cached_property
    def tick_texts(self) -> tuple[str, ...]:
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        digits = next(
            (digits for digits in range(_MOST_DIGITS) if math.isclose(step, round(step, digits))), _MOST_DIGITS
        )
        return tuple(f"{tick:.{digits}f} {self.short_unit}" for tick in self.ticks)


def _reading_unit(unit: str, top: float) -> tuple[str, str, float]:
    """In words, in short, and how many of the record's unit it is."""
    if unit == "bytes":
        name = next((name for name in ("GiB", "MiB", "KiB") if abs(top) >= 2 * BYTES_PER_UNIT[name]), "B")
        words = {"GiB": "gibibytes (GiB)", "MiB": "mebibytes (MiB)", "KiB": "kibibytes (KiB)", "B": "bytes"}[name]
        return words, name, BYTES_PER_UNIT[name]
    if unit == "ns":
        return ("seconds", "s", 1e9) if top >= 2e9 else ("milliseconds", "ms", 1e6)
    return "tokens a second", "tok/s", 1.0


def _nice_ticks(low: float, high: float) -> tuple[float, ...]:
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(number * step for number in range(first, last + 1))


@dataclass(frozen=True)
class Strip:
    """One outcome. Tuples go along with each other."""

    outcome: str
    days: tuple[int, ...]
    low: tuple[float, ...]
    """Where in the night's stripe its box begins, and ends, from 0 to 1: segments of the same night share it."""
    high: tuple[float, ...]
    share: tuple[float, ...]
    """Of the night's trials, above 0."""


@dataclass(frozen=True)
class EndsPicture:
    """All that the figure shows."""

    days: tuple[int, ...]
    """Every night that the axis must have, oldest first."""
    strips: tuple[Strip, ...]
    """From above to below."""
    marks: tuple[Mark, ...]
    absent: tuple[int, ...]
    """Nights on which its suite ran without it."""

    @cached_property
    def scale(self) -> NightScale:
        return NightScale.over(self.days)

    @property
    def height(self) -> float:
        return STRIP * max(len(self.strips), 1) + 4


def spots(picture: SeriesPicture, top: float) -> list[Spot]:
    """Where each night is; `top`: of the plot. Segments of the same night share its stripe by height."""
    of_day: dict[int, list[tuple[float, int]]] = {day: [(0.0, ABSENT)] for day in picture.absent}
    whole, height = round(top, 1), round(HEIGHT + GAP_ROW, 1)
    for track in picture.tracks:
        heights = np.nan_to_num(picture.values.y(track.values), nan=0.0).tolist()
        for day, y in zip(track.days, heights, strict=True):
            of_day.setdefault(day, []).append((y, track.segment))
    width = round(picture.scale.slot, 1)
    middles = picture.scale.xs(list(of_day)).tolist()
    found = []
    for middle, (day, points) in zip(middles, of_day.items(), strict=True):
        x = round(middle, 1)
        if len(points) == 1:
            found.append(Spot(points[0][1], day, x, whole, width, height))
            continue
        points.sort(reverse=True)
        edges = [HEIGHT, *((above + below) / 2 for (above, _), (below, _) in pairwise(points)), -GAP_ROW]
        found += [
            Spot(segment, day, x, round(top + HEIGHT - upper, 1), width, round(upper - lower, 1))
            for (_, segment), (upper, lower) in zip(points, pairwise(edges), strict=True)
        ]
    return found


def ends_spots(picture: EndsPicture, nights: Sequence[tuple[int, int, float, float]], top: float) -> list[Spot]:
    """Where each night is: `nights` are segment, day and where in the day's stripe it lies, from 0 to 1."""
    scale, height = picture.scale, round(picture.height + GAP_ROW, 1)
    shown = [*nights, *((ABSENT, day, 0.0, 1.0) for day in picture.absent)]
    return [
        Spot(
            segment,
            day,
            round(scale.x(day - 0.5 + (low + high) / 2), 1),
            top,
            round((high - low) * scale.slot, 1),
            height,
        )
        for segment, day, low, high in shown
    ]

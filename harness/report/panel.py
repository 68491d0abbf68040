"""A plot drawn straight on a figure: a tenth of what matplotlib's axes cost, and a site has hundreds of figures.

Places are in inches from the figure's lower left corner, or in a panel's data. May know only matplotlib and the style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from harness.report.figure_marks import Fill, Look, Stroke
from harness.report.figure_sheet import TICK_SIZE, Lettering, Sheet, text_width_in

GRID_DEPTH = 0.5
_AXIS_WIDTH = 0.8
_GRID_WIDTH = 0.6
_STEPS = (1, 2, 5, 10)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round values from `low` to `high`, about so many; `high` must be above `low`."""
    span = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(span))
    step = next(one * power for one in _STEPS if one * power >= span * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """With as many digits as tell neighbours apart."""
    step = min((b - a for a, b in pairwise(values)), default=abs(values[0]) if values else 1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return [f"{value:.{digits}f}" for value in values]


class Panel:
    """A rectangle of a sheet with scales of its own."""

    def __init__(
        self,
        sheet: Sheet,
        place_in: tuple[float, float, float, float],
        x: tuple[float, float],
        y: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """`place_in`: left, bottom, width, height in inches; `x`, `y`: the values at its edges, low before high."""
        self.sheet = sheet
        self.left, self.bottom, self.width, self.height = place_in
        self.x, self.y = x, y
        self.x_in = self.width / (x[1] - x[0])
        """Inches for one unit of x."""
        self.y_in = self.height / (y[1] - y[0])

    def draw(self, look: Look, x: ArrayLike, y: ArrayLike, *, depth: float = 2.0) -> None:
        """A line through places of the data, broken at NaN, or a mark at each."""
        x_in = self.left + (np.asarray(x, dtype=np.float64) - self.x[0]) * self.x_in
        y_in = self.bottom + (np.asarray(y, dtype=np.float64) - self.y[0]) * self.y_in
        self.sheet.draw(look, x_in, y_in, depth=depth)

    def upright(self, x: float, look: Stroke, *, depth: float = 2.0) -> None:
        """A line from the bottom to the top."""
        self.draw(look, [x, x], self.y, depth=depth)

    def level(self, y: float, look: Stroke, *, depth: float = 2.0) -> None:
        """A line from the left to the right."""
        self.draw(look, self.x, [y, y], depth=depth)

    def box(
        self, x: tuple[float, float], y: tuple[float, float] | None = None, *, fill: Fill, depth: float = 0.0
    ) -> None:
        """A filled rectangle; without `y` as high as the panel. What lies outside is cut off."""
        x0, x1 = (min(max(value, self.x[0]), self.x[1]) for value in x)
        self.draw(fill, [x0, x1], y or self.y, depth=depth)

    def write(self, x: float, y: float, text: str, look: Lettering, *, dx: float = 0.0, dy: float = 0.0) -> None:
        """A text at a place of the data, moved by `dx`, `dy` inches."""
        at_x, at_y = self.left + (x - self.x[0]) * self.x_in, self.bottom + (y - self.y[0]) * self.y_in
        self.sheet.write(at_x + dx, at_y + dy, text, look)

    def x_axis(self, label: str, *, about: int = 8, below_in: float = 0.0, grid: bool = False) -> None:
        """The line below, its ticks, texts and label; `below_in`: how far below the panel it stands."""
        theme, sheet = self.sheet.theme, self.sheet
        axis, words = Stroke(theme.muted, _AXIS_WIDTH), Lettering(theme.text, ha="center", va="top")
        values = ticks(*self.x, about)
        bottom = self.bottom - below_in
        sheet.draw(axis, [self.left, self.left + self.width], [bottom, bottom])
        for value, text in zip(values, tick_texts(values), strict=True):
            at = self.left + (value - self.x[0]) * self.x_in
            sheet.draw(axis, [at, at], [bottom, bottom - 0.05])
            sheet.write(at, bottom - 0.08, text, words)
            if grid:
                self.upright(value, Stroke(theme.grid, _GRID_WIDTH), depth=GRID_DEPTH)
        middle = self.left + self.width / 2
        sheet.write(middle, bottom - 0.27, label, Lettering(theme.muted, ha="center", va="top"))

    def y_axis(self, label: str, *, about: int = 5) -> None:
        """Texts at the left, a line across for each, and the label beside them."""
        theme = self.sheet.theme
        values = ticks(*self.y, about)
        words = Lettering(theme.text, ha="right")
        for value, text in zip(values, tick_texts(values), strict=True):
            self.level(value, Stroke(theme.grid, _GRID_WIDTH), depth=GRID_DEPTH)
            self.write(self.x[0], value, text, words, dx=-0.08)
        middle = self.bottom + self.height / 2
        self.sheet.write(self.left - 0.62, middle, label, Lettering(theme.muted, ha="center", upright=True))


def wrapped(widths_in: Sequence[float], room_in: float) -> list[tuple[int, float]]:
    """Where things of these widths go when they flow in lines of `room_in`: line from 0, and inches from its begin."""
    places, line, at = [], 0, 0.0
    for width in widths_in:
        if at > 0 and at + width > room_in:
            line, at = line + 1, 0.0
        places.append((line, at))
        at += width
    return places


LEGEND_ROW_IN = 0.2
_SAMPLE_IN = 0.4


def legend(sheet: Sheet, left_in: float, top_in: float, room_in: float, items: Sequence[tuple[str, Look]]) -> None:
    """Samples of lines or marks with their names, in as many lines as they need (`legend_height_in`)."""
    words = Lettering(sheet.theme.text)
    places = wrapped(_legend_widths(items), room_in)
    for (name, look), (line, at) in zip(items, places, strict=True):
        y = top_in - LEGEND_ROW_IN * (line + 0.5)
        x = left_in + at
        if isinstance(look, Stroke):
            sheet.draw(look, [x, x + _SAMPLE_IN], [y, y])
        else:
            sheet.draw(look, [x + _SAMPLE_IN / 2], [y])
        sheet.write(x + _SAMPLE_IN + 0.08, y, name, words)


def legend_height_in(room_in: float, items: Sequence[tuple[str, Look]]) -> float:
    """Height of the legend."""
    return LEGEND_ROW_IN * (1 + max((line for line, _ in wrapped(_legend_widths(items), room_in)), default=-1))


def _legend_widths(items: Sequence[tuple[str, Look]]) -> list[float]:
    return [_SAMPLE_IN + 0.08 + text_width_in(name, TICK_SIZE) + 0.25 for name, _ in items]

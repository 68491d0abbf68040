"""A plot drawn straight on a figure: a tenth of what matplotlib's axes cost, and a site has hundreds of figures.

Places are in inches from the figure's lower left corner, or in a panel's data. May know only matplotlib and the style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike

from harness.report.figures_style import Theme

Looks = dict[str, Any]
"""Keywords of matplotlib's lines and texts."""
POINTS_PER_IN = 72
TICK_SIZE = 8.5
_STEPS = (1, 2, 5, 10)


def text_width_in(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text in inches, as drawn in `size` points."""
    return _width_points(text, size, bold) / POINTS_PER_IN


@cache
def _font(size: float, bold: bool) -> FontProperties:
    return FontProperties(size=size, weight="bold" if bold else "normal")


def _width_points(text: str, size: float, bold: bool) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(text, _font(size, bold), ismath=False)
    return float(width)


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
    """A rectangle of the figure with scales of its own."""

    def __init__(
        self,
        figure: Figure,
        place_in: tuple[float, float, float, float],
        x: tuple[float, float],
        y: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """`place_in`: left, bottom, width, height in inches; `x`, `y`: the values at its edges, low before high."""
        self.figure = figure
        self.left, self.bottom, self.width, self.height = place_in
        self.x, self.y = x, y
        x_scale, y_scale = self.width / (x[1] - x[0]), self.height / (y[1] - y[0])
        self.x_in = x_scale
        """Inches for one unit of x."""
        to_in = Affine2D.from_values(x_scale, 0, 0, y_scale, self.left - x[0] * x_scale, self.bottom - y[0] * y_scale)  # type: ignore[no-untyped-call,unused-ignore]  # matplotlib leaves it untyped
        self._transform = to_in + figure.dpi_scale_trans
        self._to_in = to_in

    def line(self, x: ArrayLike, y: ArrayLike, **looks: Any) -> None:
        """Joins points in the panel's data; NaN breaks the line."""
        drawn = Line2D(np.asarray(x, dtype=float), np.asarray(y, dtype=float), transform=self._transform, **looks)
        self.figure.add_artist(drawn, clip=False)

    def upright(self, x: float, **looks: Any) -> None:
        """A line from the bottom to the top."""
        self.line([x, x], list(self.y), **looks)

    def level(self, y: float, **looks: Any) -> None:
        """A line from the left to the right."""
        self.line(list(self.x), [y, y], **looks)

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float] | None = None,
        *,
        color: str,
        zorder: float = 0,
        **looks: Any,
    ) -> None:
        """A filled rectangle; without `y` as high as the panel. What lies outside is cut off."""
        x0, x1 = (min(max(value, self.x[0]), self.x[1]) for value in x)
        y0, y1 = y or self.y
        drawn = Rectangle(
            (x0, y0), x1 - x0, y1 - y0, transform=self._transform, facecolor=color, linewidth=0, zorder=zorder, **looks
        )
        self.figure.add_artist(drawn, clip=False)

    def text(
        self, x: float, y: float, text: str, *, size: float = TICK_SIZE, dx: float = 0.0, dy: float = 0.0, **looks: Any
    ) -> None:
        """A text at a place of the data, moved by `dx`, `dy` inches."""
        at_x, at_y = self._to_in.transform((x, y))
        write(self.figure, at_x + dx, at_y + dy, text, size=size, **looks)

    def x_axis(self, theme: Theme, label: str, *, about: int = 8, below_in: float = 0.0, grid: bool = False) -> None:
        """The line below, its ticks, texts and label; `below_in`: how far below the panel it stands."""
        values = ticks(*self.x, about)
        bottom = self.bottom - below_in
        rule(self.figure, [self.left, self.left + self.width], [bottom, bottom], color=theme.muted, linewidth=0.8)
        for value, text in zip(values, tick_texts(values), strict=True):
            at = self.left + (value - self.x[0]) * self.x_in
            rule(self.figure, [at, at], [bottom, bottom - 0.05], color=theme.muted, linewidth=0.8)
            write(self.figure, at, bottom - 0.08, text, size=TICK_SIZE, ha="center", va="top")
            if grid:
                self.upright(value, color=theme.grid, linewidth=0.6, zorder=0.5)
        middle = self.left + self.width / 2
        write(self.figure, middle, bottom - 0.27, label, size=TICK_SIZE, ha="center", va="top", color=theme.muted)

    def y_axis(self, theme: Theme, label: str, *, about: int = 5) -> None:
        """Texts at the left, a line across for each, and the label above them."""
        values = ticks(*self.y, about)
        for value, text in zip(values, tick_texts(values), strict=True):
            self.level(value, color=theme.grid, linewidth=0.6, zorder=0.5)
            self.text(self.x[0], value, text, dx=-0.08, ha="right", va="center")
        middle = self.bottom + self.height / 2
        write(
            self.figure, self.left - 0.62, middle, label, size=TICK_SIZE, ha="center", va="center", color=theme.muted,
            rotation=90,
        )  # fmt: skip  # one text


def write(figure: Figure, x_in: float, y_in: float, text: str, *, size: float, **looks: Any) -> None:
    """A text at a place in inches."""
    width, height = figure.get_size_inches()
    figure.text(x_in / width, y_in / height, text, fontsize=size, **looks)


def rule(figure: Figure, x_in: Sequence[float], y_in: Sequence[float], **looks: Any) -> None:
    """A line between places in inches."""
    drawn = Line2D(list(x_in), list(y_in), transform=figure.dpi_scale_trans, **looks)
    figure.add_artist(drawn, clip=False)


def wrapped(widths_in: Sequence[float], room_in: float) -> list[tuple[int, float]]:
    """Where things of these widths go when they flow in lines of `room_in`: line from 0, and inches from its begin."""
    places, line, at = [], 0, 0.0
    for width in widths_in:
        if at > 0 and at + width > room_in:
            line, at = line + 1, 0.0
        places.append((line, at))
        at += width
    return places


def legend(figure: Figure, left_in: float, top_in: float, room_in: float, items: Sequence[tuple[str, Looks]]) -> None:
    """Samples of lines or marks with their names, in as many lines as they need (`legend_height_in`)."""
    places = wrapped(_legend_widths(items), room_in)
    for (name, looks), (line, at) in zip(items, places, strict=True):
        y = top_in - LEGEND_ROW_IN * (line + 0.5)
        x = left_in + at
        rule(figure, [x, x + 0.2, x + 0.4], [y, y, y], **{"markevery": [1], **looks})
        write(figure, x + 0.48, y, name, size=TICK_SIZE, va="center")


LEGEND_ROW_IN = 0.2


def legend_height_in(room_in: float, items: Sequence[tuple[str, Looks]]) -> float:
    """Height of the legend."""
    return LEGEND_ROW_IN * (1 + max((line for line, _ in wrapped(_legend_widths(items), room_in)), default=-1))


def _legend_widths(items: Sequence[tuple[str, Looks]]) -> list[float]:
    return [0.48 + text_width_in(name, TICK_SIZE) + 0.25 for name, _ in items]

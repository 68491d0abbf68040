"""A figure on which words, lines, boxes and marks are put by places in inches from its lower left corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from harness.report.figure_marks import POINTS, Fill, Look, Marks
from harness.report.figure_words import ABOVE_LINES, Words, text_width
from harness.report.figures_style import Theme

POINTS_PER_IN = 72
TICK_SIZE = 8.5
_ASCENT, _DESCENT = 0.76, 0.24
"""Of the font above and below its base line, in sizes."""
_LINE = 1.15
"""From one line of words to the next, in sizes."""
_PAD_POINTS = 1.0
"""By how much what lies behind words is larger than they are, on each side."""
_SHARE_ABOVE = {"top": 0.0, "center": 0.5, "bottom": 1.0}
_SHARE_BEFORE = {"left": 0.0, "center": 0.5, "right": 1.0}


def text_width_in(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text in inches, as drawn in `size` points."""
    return text_width(text, size, bold=bold) / POINTS_PER_IN


@dataclass(frozen=True)
class Lettering:
    """How words look, and how they stand at their place."""

    color: str
    size: float = TICK_SIZE
    bold: bool = False
    ha: str = "left"
    va: str = "center"
    """What of them is at the place: `top`, `center` or `bottom`."""
    upright: bool = False
    """From below to above, as if they had been turned about their place: `ha`, `va` are as they were before."""
    behind: Fill | None = None
    """So that they are read where they stand on lines."""
    depth: float = ABOVE_LINES


class Sheet:
    """The figure; it is for SVG, whose dots are points. Draw within `style(theme)`."""

    def __init__(self, width_in: float, height_in: float, theme: Theme) -> None:
        self.figure = Figure(figsize=(width_in, height_in), dpi=POINTS_PER_IN)
        self.theme = theme
        self._marks = Marks()
        self.figure.add_artist(self._marks, clip=False)

    def draw(self, look: Look, x_in: ArrayLike, y_in: ArrayLike, *, depth: float = 2.0) -> None:
        """A line through the places, broken at NaN, or a mark at each, or a box from the first to the second."""
        self._add(look, np.column_stack([x_in, y_in]) * POINTS_PER_IN, depth)

    def _add(self, look: Look, places: ArrayLike, depth: float) -> None:
        self._marks.add(look, np.asarray(places, dtype=np.float64), depth)

    def write(self, x_in: float, y_in: float, text: str, look: Lettering) -> None:
        """A text of one line or more; those after the first are below it."""
        lines = text.split("\n")
        x, y = x_in * POINTS_PER_IN, y_in * POINTS_PER_IN
        height = _ASCENT + _DESCENT + _LINE * (len(lines) - 1)
        top = look.size * height * _SHARE_ABOVE[look.va]
        if look.behind is not None:
            width = max(text_width(line, look.size, bold=look.bold) for line in lines)
            begin = -width * _SHARE_BEFORE[look.ha]
            corners = np.array([[begin, top - look.size * height], [begin + width, top]])
            corners += np.array([[-_PAD_POINTS], [_PAD_POINTS]])
            if look.upright:
                corners = np.column_stack([-corners[::-1, 1], corners[:, 0]])
            self._add(look.behind, corners + np.array([x, y]), look.depth)
        for number, line in enumerate(lines):
            rise = top - look.size * (_ASCENT + _LINE * number)
            at_x, at_y = (x - rise, y) if look.upright else (x, y + rise)
            words = Words(
                round(at_x, 2), round(at_y, 2), line, POINTS, color=look.color, size=look.size, ha=look.ha,
                bold=look.bold, upright=look.upright,
            )  # fmt: skip  # one line of words
            self._marks.add_words(words, look.depth)

"""The frame of a figure over nights: where a night lies, its axis of dates, lines that mark a change, and a key.

It is made of few artists, at places in points: axes of matplotlib take most of the time of drawing, and a site has a
figure for every series.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

from harness.core.text import printable
from harness.report.figure_words import Words
from harness.report.series_picture import GAP_ROW, LEFT, WIDTH, Mark, NightScale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.report.figures_style import Theme

    FloatArray = NDArray[np.float64]

POINTS_PER_INCH = 72
_POINTS = IdentityTransform()
HEAD = 20.0
LABEL_ROW = 14.0
LABEL_ROWS = 4
"""What has no room in so many is told below the figure only."""
DATES = 18.0
KEY = 22.0
TEXT_PT = 10.5
SMALL_PT = 9.5
MAX_LABEL_CHARS = 36
_MOST_MONTHS = 14
_DAYS_PER_TICK = (1, 2, 7, 14)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Frame:
    """A figure whose plot is `height` points high; y counts from the bottom of the plot.

    `key`: what tells lanes apart, if there are several; the other signs are explained by the page, once for all.
    """

    def __init__(
        self, scale: NightScale, height: float, marks: Sequence[Mark], theme: Theme, key: Sequence[str] = ()
    ) -> None:
        self.scale = scale
        self.height = height
        self.theme = theme
        self._labels = _placed(marks, scale)
        rows = max((row for _, row, _ in self._labels), default=-1) + 1
        self.top = HEAD + rows * LABEL_ROW
        """From the figure's upper edge to the plot, in points."""
        self._bottom = GAP_ROW + DATES + (KEY if key else 0.0)
        self.total = self.top + height + self._bottom
        self._key = key
        self.figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, self.total / POINTS_PER_INCH), dpi=POINTS_PER_INCH)
        self._marks = marks

    def strokes(self, starts: FloatArray, ends: FloatArray, **looks: Any) -> None:
        """Lines from each of `starts` to that of `ends` (`[n, 2]`, points), as one path."""
        if len(starts):
            vertices = np.stack([starts, ends], axis=1).reshape(-1, 2)
            codes = np.tile(np.array([Path.MOVETO, Path.LINETO], dtype=np.uint8), len(starts))
            self._add(vertices, codes, facecolor="none", **looks)

    def dots(self, places: FloatArray, size: float, color: str, *, square: bool = False) -> None:
        """A dot at each place: a line of no length, whose end is round or square."""
        cap = "projecting" if square else "round"
        self.strokes(places, places, edgecolor=color, linewidth=size, capstyle=cap)

    def line(self, pieces: Sequence[FloatArray], **looks: Any) -> None:
        """Lines through the places of each piece, as one path; pieces are not joined."""
        kept = [piece for piece in pieces if len(piece) > 1]
        if kept:
            codes = np.full(sum(map(len, kept)), Path.LINETO, dtype=np.uint8)
            codes[np.cumsum([0, *map(len, kept[:-1])])] = Path.MOVETO
            self._add(np.concatenate(kept), codes, facecolor="none", **looks)

    def boxes(self, low: FloatArray, high: FloatArray, color: str) -> None:
        """Filled boxes between two corners each (`[n, 2]`, points), as one path."""
        if len(low):
            corners = [low, np.column_stack([high[:, 0], low[:, 1]]), high, np.column_stack([low[:, 0], high[:, 1]])]
            vertices = np.stack([*corners, low], axis=1).reshape(-1, 2)
            codes = np.tile(np.array([1, 2, 2, 2, Path.CLOSEPOLY], dtype=np.uint8), len(low))
            self._add(vertices, codes, facecolor=color, edgecolor="none", linewidth=0)

    def _add(self, vertices: FloatArray, codes: NDArray[np.uint8], **looks: Any) -> None:
        # a tenth of a point is less than a screen shows, and its digits are most of a figure's bytes
        places = np.round(vertices + np.array([0.0, self._bottom]), 1)
        path = Path(places, codes)
        # of long paths matplotlib leaves out what it takes for nothing, as the lines of no length are
        path.should_simplify = False
        self.figure.add_artist(PathPatch(path, transform=_POINTS, **looks), clip=False)

    def text(self, x: float, y: float, words: str, *, color: str, size: float = TEXT_PT, ha: str = "left") -> None:
        """Words whose middle is at the height `y`."""
        # the middle of small letters is about a third of the size above the base line
        at = (round(x, 1), round(y + self._bottom - 0.35 * size, 1))
        self.figure.add_artist(Words(*at, printable(words), _POINTS, color=color, size=size, ha=ha), clip=False)

    def draw_frame(self, headline: str) -> None:
        """Dates, the base line, and what is written above the plot."""
        theme, scale = self.theme, self.scale
        self.line([np.array([[LEFT, 0.0], [scale.right, 0.0]])], edgecolor=theme.muted, linewidth=0.8)
        self.text(LEFT, self.height + self.top - HEAD / 2, headline, color=theme.muted)
        ticks = _date_ticks(scale)
        xs = scale.xs([day for day, _ in ticks])
        low, high = -GAP_ROW, -GAP_ROW - 4
        self.strokes(
            np.column_stack([xs, np.full(len(xs), low)]),
            np.column_stack([xs, np.full(len(xs), high)]),
            edgecolor=theme.muted,
            linewidth=0.8,
        )
        for x, (_, words) in zip(xs, ticks, strict=True):
            middle = max(x, text_width(words, SMALL_PT) / 2 + 2)
            self.text(middle, -GAP_ROW - DATES / 2 - 3, words, color=theme.text, size=SMALL_PT, ha="center")

    def draw_marks(self) -> None:
        """A vertical line for each mark, and the words of those that have room."""
        theme = self.theme
        colors = {None: theme.muted, True: theme.death, False: theme.host}
        heads = {id(mark): row for mark, row, _ in self._labels}
        for worse, color in colors.items():
            of_kind = [mark for mark in self._marks if mark.worse is worse]
            xs = self.scale.xs([mark.day for mark in of_kind]) - self.scale.slot / 2
            tops = [self.height + LABEL_ROW * (heads.get(id(mark), -1) + 1) for mark in of_kind]
            self.strokes(
                np.column_stack([xs, np.zeros(len(xs))]),
                np.column_stack([xs, tops]),
                edgecolor=color,
                linewidth=1.0,
                linestyle=(0, (4, 2)) if worse is None else "solid",
            )
        for mark, row, left in self._labels:
            color = theme.text if mark.worse is None else colors[mark.worse]
            self.text(left, self.height + LABEL_ROW * (row + 0.5), _label(mark), color=color, size=SMALL_PT)

    def draw_gaps(self, unmeasured: Sequence[int], absent: Sequence[int]) -> None:
        """Marks below the plot: nights whose trials gave no figure, and nights on which the case did not run."""
        y, reach = -GAP_ROW / 2, min(max(self.scale.slot / 2, 1.2), 3.0)
        xs = self.scale.xs(unmeasured)
        for rise in (reach, -reach):
            starts = np.column_stack([xs - reach, np.full(len(xs), y - rise)])
            self.strokes(starts, np.column_stack([xs + reach, np.full(len(xs), y + rise)]), **self._cross)
        xs = self.scale.xs(absent)
        half = self.scale.slot / 2
        self.boxes(
            np.column_stack([xs - half, np.full(len(xs), y - 1.5)]),
            np.column_stack([xs + half, np.full(len(xs), y + 1.5)]),
            self.theme.muted,
        )

    @property
    def _cross(self) -> dict[str, Any]:
        return {"edgecolor": self.theme.death, "linewidth": 1.1}

    def draw_key(self) -> None:
        """The dots of each lane, and what it is."""
        x, y = LEFT, -GAP_ROW - DATES - KEY / 2 - 1
        for lane, words in enumerate(self._key):
            color, square = track_looks(lane, self.theme)
            self.dots(np.array([[x + 7, y]]), 5, color, square=square)
            self.text(x + 18, y, words, color=self.theme.text, size=SMALL_PT)
            x += 18 + text_width(words, SMALL_PT) + 14


def track_looks(lane: int, theme: Theme) -> tuple[str, bool]:
    """Colour, and whether its dots are square, of what is measured beside something else."""
    colors = (theme.footprint, theme.resident, theme.limit, theme.host)
    return colors[lane % len(colors)], lane % 2 == 1


def text_width(words: str, size: float) -> float:
    """About as wide as it will be, in points; measuring it would cost more than drawing it."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in words)
    return size * (0.6 * len(words) + 0.4 * wide)


def _label(mark: Mark) -> str:
    return mark.text if len(mark.text) <= MAX_LABEL_CHARS else mark.text[: MAX_LABEL_CHARS - 1] + "…"


def _placed(marks: Sequence[Mark], scale: NightScale) -> list[tuple[Mark, int, float]]:
    """Mark, row above the plot, and where its words begin; those that have no room are left out.

    Changes of level are placed before lines between segments, new ones before old ones.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(LABEL_ROWS)]
    placed = []
    for mark in sorted(marks, key=lambda one: (one.worse is None, -one.day)):
        width = text_width(_label(mark), SMALL_PT)
        x = scale.x(mark.day - 0.5)
        left = x + 4 if x + 4 + width <= WIDTH else x - 4 - width
        span = (min(left, x) - 3, max(left + width, x) + 3)
        for row, spans in enumerate(taken):
            if left >= 0 and all(span[1] <= begin or end <= span[0] for begin, end in spans):
                spans.append(span)
                placed.append((mark, row, left))
                # its line runs through the rows below
                for below in taken[:row]:
                    below.append((x - 1, x + 1))
                break
    return placed


def _date_ticks(scale: NightScale) -> list[tuple[int, str]]:
    nights = scale.last - scale.first + 1
    if nights > _DAYS_PER_TICK[-1] * 8:
        return _month_ticks(scale)
    days = next((days for days in _DAYS_PER_TICK if nights / days <= 10), _DAYS_PER_TICK[-1])
    ticks = range(scale.newest, scale.first - 1, -days)
    return [(day, _day_text(date.fromordinal(day))) for day in ticks]


def _day_text(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]}"


def _month_ticks(scale: NightScale) -> list[tuple[int, str]]:
    """The first of each month, of each second, … so that their words do not touch."""
    month = date.fromordinal(scale.first).replace(day=1)
    firsts = []
    while month.toordinal() <= scale.last:
        if month.toordinal() >= scale.first:
            firsts.append(month)
        month = (month + timedelta(days=32)).replace(day=1)
    every = -(-len(firsts) // _MOST_MONTHS)
    return [
        (
            one.toordinal(),
            f"{_MONTHS[one.month - 1]} {one.year}" if number == 0 or one.month == 1 else _MONTHS[one.month - 1],
        )
        for number, one in enumerate(firsts[::every])
    ]

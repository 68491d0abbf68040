"""Lines, boxes and marks of a figure, drawn as they are, by few elements: what looks alike is one path.

They are for SVG, whose dots are points.

Matplotlib's own artists cost ten times as much, for each has a layout, a group and a style of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.artist import Artist
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, IdentityTransform

from harness.report.figure_words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.backend_bases import GraphicsContextBase, RendererBase
    from matplotlib.transforms import Affine2DBase
    from numpy.typing import NDArray

    Places = NDArray[np.float64]
    """x and y in points from the lower left corner: `[n, 2]`."""

POINTS = IdentityTransform()
"""From points to the dots of an SVG."""
_BREAK = np.full((1, 2), np.nan)
"""Between two lines of one path."""
_BOX_CODES = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], dtype=np.uint8)
_DECIMALS = 2
"""Of a place in points: less than a screen shows, and digits are most of a figure's bytes."""
_MARK_EDGE = 1.0


@dataclass(frozen=True)
class Stroke:
    """How a line looks; widths in points."""

    color: str
    width: float = 1.0
    dashes: tuple[float, ...] = ()
    """Lengths on and off, in widths; none: solid."""

    def draw(self, renderer: RendererBase, pieces: Sequence[Places]) -> None:
        """Each piece is a line; NaN breaks it."""
        gc = _context(renderer, self.color, 1.0, self.width)
        # as matplotlib ends its lines, so that those of a frame meet
        gc.set_capstyle("butt" if self.dashes else "projecting")
        if self.dashes:
            gc.set_dashes(0, [one * self.width for one in self.dashes])
        path = Path(np.concatenate([part for piece in pieces for part in (piece, _BREAK)][:-1]))
        renderer.draw_path(gc, path, POINTS)
        gc.restore()


@dataclass(frozen=True)
class Fill:
    """How a box looks."""

    color: str
    alpha: float = 1.0

    def draw(self, renderer: RendererBase, pieces: Sequence[Places]) -> None:
        """Each piece is the lower left and the upper right corner of a box."""
        low, high = np.stack(pieces).transpose(1, 0, 2)
        corners = [low, np.column_stack([high[:, 0], low[:, 1]]), high, np.column_stack([low[:, 0], high[:, 1]]), low]
        path = Path(np.stack(corners, axis=1).reshape(-1, 2), np.tile(_BOX_CODES, len(low)))
        gc = _context(renderer, self.color, self.alpha, 0.0)
        renderer.draw_path(gc, path, POINTS, gc.get_rgb())
        gc.restore()


@dataclass(frozen=True)
class Mark:
    """How a mark looks."""

    sign: str
    """Of matplotlib: `o`, `X`, `D`, `v`."""
    color: str
    size: float
    """In points."""
    edge: str = ""
    """Colour of its edge; empty: it has none."""
    alpha: float = 1.0

    def draw(self, renderer: RendererBase, pieces: Sequence[Places]) -> None:
        """Each piece is the places of marks."""
        gc = _context(renderer, self.color, self.alpha, 0.0)
        face = gc.get_rgb()
        gc.restore()
        gc = _context(renderer, self.edge or self.color, self.alpha, _MARK_EDGE if self.edge else 0.0)
        gc.set_joinstyle("miter")
        shape, to_size = _shape(self.sign, self.size)
        renderer.draw_markers(gc, shape, to_size, Path(np.concatenate(pieces)), POINTS, face)
        gc.restore()


Look = Stroke | Fill | Mark


class Marks(Artist):
    """Everything of a figure, words among it, by its depth: of what is as deep, the first that was added is behind."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: dict[tuple[float, Look], list[Places]] = {}
        self._words: dict[float, list[Words]] = {}

    def add(self, look: Look, places: Places, depth: float) -> None:
        """What places mean is told by the look's `draw`; no places: nothing is drawn."""
        if len(places):
            self._pieces.setdefault((depth, look), []).append(np.round(places, _DECIMALS))

    def add_words(self, words: Words, depth: float) -> None:
        """They lie on marks of the same depth."""
        words.set_figure(self.get_figure(root=False))  # type: ignore[arg-type]  # the figure has been given
        self._words.setdefault(depth, []).append(words)

    def draw(self, renderer: RendererBase) -> None:
        """Called by the figure."""
        by_depth: dict[float, list[tuple[Look, list[Places]]]] = {depth: [] for depth in self._words}
        for (depth, look), pieces in self._pieces.items():
            by_depth.setdefault(depth, []).append((look, pieces))
        for depth in sorted(by_depth):
            for look, pieces in by_depth[depth]:
                look.draw(renderer, pieces)
            for words in self._words.get(depth, ()):
                words.draw(renderer)


def _context(renderer: RendererBase, color: str, alpha: float, width: float) -> GraphicsContextBase:
    gc = renderer.new_gc()
    gc.set_foreground(color)
    gc.set_alpha(alpha)
    gc.set_linewidth(width)
    return gc


@cache
def _shape(sign: str, size: float) -> tuple[Path, Affine2DBase]:
    style = MarkerStyle(sign)
    to_size = Affine2D(style.get_transform().get_matrix()).scale(size)
    return style.get_path(), to_size

"""Words of a figure, drawn as they are. Matplotlib's own `Text` measures and lays out first, which takes ten times as
long, and an SVG's words are laid out by the reader's browser anyway.
"""

from __future__ import annotations

from functools import cache, lru_cache

from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Transform

ABOVE_LINES = 3.0
"""Where matplotlib's own texts lie, too."""
_POINTS_PER_INCH = 72
_SHIFT_OF_WIDTH = {"left": 0.0, "center": 0.5, "right": 1.0}


class Words(Artist):
    """One line of words. `x` and `y` of its base line are of `transform`; `size` is in points; `upright`: from below to
    above.

    The methods without a docstring are what matplotlib's SVG renderer asks of the text that it aligns.
    """

    def __init__(
        self,
        x: float,
        y: float,
        words: str,
        transform: Transform,
        *,
        color: str,
        size: float,
        ha: str = "left",
        bold: bool = False,
        upright: bool = False,
    ) -> None:
        super().__init__()
        self._at = (x, y)
        self._words = words
        self._color = color
        self._size, self._bold = size, bold
        self._ha = ha
        self._upright = upright
        self.set_transform(transform)
        self.set_zorder(ABOVE_LINES)

    def draw(self, renderer: RendererBase) -> None:
        """Called by the figure."""
        if not self._words:
            return
        x, y = self.get_transform().transform(self._at)
        if renderer.flipy():
            y = renderer.get_canvas_width_height()[1] - y
        figure = self.get_figure(root=True)
        assert figure is not None, "it is drawn by one"
        # the renderer does not tell: it is one that stands for that of the format
        own_align = isinstance(figure.canvas, FigureCanvasSVG)
        if not own_align and self._ha != "left":
            width = text_width(self._words, self._size, bold=self._bold) * figure.dpi / _POINTS_PER_INCH
            shift = width * _SHIFT_OF_WIDTH[self._ha]
            if self._upright:
                y += shift if renderer.flipy() else -shift
            else:
                x -= shift
        gc = renderer.new_gc()
        gc.set_foreground(self._color)
        aligned = self if own_align else None
        angle = 90.0 if self._upright else 0.0
        renderer.draw_text(gc, x, y, self._words, font(self._size, bold=self._bold), angle, False, aligned)  # type: ignore[arg-type]  # it is asked for the four methods below only
        gc.restore()

    def get_rotation_mode(self) -> str:
        return "anchor"

    def get_unitless_position(self) -> tuple[float, float]:
        return self._at

    def get_ha(self) -> str:
        return self._ha


@cache
def font(size: float, *, bold: bool = False) -> FontProperties:
    """The font of the style that is set; `size` in points."""
    return FontProperties(family=["DejaVu Sans"], size=size, weight="bold" if bold else "normal")


@lru_cache(maxsize=4096)
def text_width(words: str, size: float, *, bold: bool = False) -> float:
    """Width of words in points, as drawn in `size` points."""
    width, _, _ = text_to_path.get_text_width_height_descent(words, font(size, bold=bold), ismath=False)
    return float(width)

"""How every figure looks, in a light and a dark theme, and how it is written so that equal data give equal bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.text import Text

PNG_DPI = 150

# Verdana has the widths of DejaVu Sans, with which the layout is measured; an SVG names fonts and does not carry them.
_FONTS = ["DejaVu Sans", "Verdana", "sans-serif"]


@dataclass(frozen=True)
class Theme:
    """Colours of one theme. The data colours are Okabe and Ito's, which colour-blind readers can tell apart."""

    name: str
    suffix: str
    """Goes between a figure's name and its file ending."""
    background: str
    text: str
    muted: str
    grid: str
    bands: tuple[str, str]
    footprint: str
    resident: str
    host: str
    limit: str
    death: str


LIGHT = Theme(
    name="light",
    suffix="",
    background="#ffffff",
    text="#1b1f24",
    muted="#57606a",
    grid="#d8dee4",
    bands=("#eef2f6", "#dfe6ee"),
    footprint="#0072b2",
    resident="#b35900",
    host="#00795a",
    limit="#a3457f",
    death="#c1121f",
)
DARK = Theme(
    name="dark",
    suffix="-dark",
    background="#0d1117",
    text="#e6edf3",
    muted="#9da7b1",
    grid="#2d333b",
    bands=("#161c24", "#212a35"),
    footprint="#56b4e9",
    resident="#e69f00",
    host="#2fc59f",
    limit="#e39ac5",
    death="#ff7b72",
)
THEMES = (LIGHT, DARK)


@contextmanager
def style(theme: Theme) -> Iterator[None]:
    """Matplotlib's settings while a figure is drawn and saved."""
    settings: dict[Any, Any] = {
        # the families after the first are for the reader's machine; here they need not exist
        "font.family": _FONTS[:1],
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "iphone-load-harness",
        "figure.facecolor": theme.background,
        "savefig.facecolor": theme.background,
        "axes.facecolor": theme.background,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.text,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": theme.text,
        "text.parse_math": False,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.text,
        "ytick.labelcolor": theme.text,
        "grid.color": theme.grid,
        "legend.labelcolor": theme.text,
        "legend.frameon": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # names may be in any script: the reader's machine has the glyphs, the layout does with estimated widths
        warnings.filterwarnings("ignore", r"(Glyph \d+ |Matplotlib currently does not support )", UserWarning)
        yield


def save(figure: Figure, folder: Path, name: str, theme: Theme) -> tuple[Path, Path]:
    """Writes `<name><theme's suffix>.svg` and `.png` without anything that changes from day to day."""
    svg = folder / f"{name}{theme.suffix}.svg"
    png = svg.with_suffix(".png")
    figure.savefig(svg, metadata={"Date": None, "Creator": "iphone-load-harness"})
    svg.write_text(font_names(svg.read_text(encoding="utf-8")), encoding="utf-8")
    figure.savefig(png, dpi=PNG_DPI, metadata={"Software": None})
    return svg, png


def font_names(svg: str) -> str:
    """The drawing with all the families that may stand in for the one it was drawn with."""
    return svg.replace(f"'{_FONTS[0]}'", ", ".join(_quoted(font) for font in _FONTS))


def _quoted(font: str) -> str:
    return font if font == "sans-serif" else f"'{font}'"


def width_in(figure: Figure, text: Text) -> float:
    """Width of a text in inches, as drawn."""
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    return float(text.get_window_extent(renderer).width / figure.dpi)

"""Distributions as strips: a dot for each trial, a bar at the median, a row for each side, a panel for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from matplotlib.figure import Figure

from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.units import MIB
from harness.report.figure_marks import Fill, Mark, Stroke
from harness.report.figure_sheet import Lettering, Sheet
from harness.report.figures_style import Theme
from harness.report.metric_words import METRIC_WORDS
from harness.report.overlay_figure import side_look
from harness.report.panel import Panel
from harness.report.words import figure_text

WIDTH_IN = 9.0
COLUMNS = 2
KEY_IN = 0.45
BETWEEN_IN = 0.35
ROW_IN = 0.24
TITLE_IN = 0.3
AXIS_IN = 0.55
VALUE_IN = 0.85
"""Room right of the dots for the median in words."""


@dataclass(frozen=True)
class Strip:
    """A side's row in all panels."""

    key: str
    values: dict[str, tuple[float, ...]]
    """Metric → its values in the record's unit; empty: no trial has it."""


def strips_figure(strips: Sequence[Strip], metrics: Sequence[str], theme: Theme) -> Figure:
    """Draws within `style(theme)`. The axes are as wide as the figures are, and do not begin at 0."""
    lines = -(-len(metrics) // COLUMNS)
    body_in = ROW_IN * len(strips)
    panel_in = TITLE_IN + body_in + AXIS_IN
    height = panel_in * lines
    sheet = Sheet(WIDTH_IN, height, theme)
    width = (WIDTH_IN - BETWEEN_IN * (COLUMNS - 1)) / COLUMNS
    for number, metric in enumerate(metrics):
        row, column = divmod(number, COLUMNS)
        left = KEY_IN + column * (width + BETWEEN_IN)
        bottom = height - (row + 1) * panel_in + AXIS_IN
        _draw_panel(sheet, (left, bottom, width - KEY_IN - VALUE_IN, body_in), metric, strips)
    return sheet.figure


def _draw_panel(
    sheet: Sheet, place_in: tuple[float, float, float, float], metric: str, strips: Sequence[Strip]
) -> None:
    theme = sheet.theme
    everything = [value for strip in strips for value in strip.values.get(metric, ())]
    scale, unit = _scale(metric, everything)
    low, high = (min(everything) / scale, max(everything) / scale) if everything else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.02 * abs(high) or 1.0
    panel = Panel(sheet, place_in, (low - pad, high + pad), (0.0, float(len(strips))))
    title_in = place_in[1] + place_in[3] + 0.13
    sheet.write(place_in[0], title_in, METRIC_WORDS[metric].short, Lettering(theme.text, 9.5, bold=True))
    if everything:
        panel.x_axis(unit, about=4, grid=True)
    for number, strip in enumerate(strips):
        middle = len(strips) - number - 0.5
        if number % 2 == 0:
            panel.box(panel.x, (middle - 0.5, middle + 0.5), fill=Fill(theme.bands[0]))
        panel.write(panel.x[0], middle, strip.key, Lettering(theme.text, bold=True, ha="right"), dx=-0.1)
        values = strip.values.get(metric, ())
        if not values:
            panel.write(panel.x[0], middle, "no figure", Lettering(theme.muted), dx=0.08)
            continue
        # in turns above and below the middle, so that equal values are seen to be several
        heights = [middle + (0.0, 0.2, -0.2)[place % 3] for place in range(len(values))]
        dots = Mark("o", side_look(number, theme).color, 4.5, alpha=0.7)
        panel.draw(dots, [value / scale for value in values], heights, depth=3)
        at = median(values)
        panel.draw(Stroke(theme.text, 1.8), [at / scale] * 2, [middle - 0.4, middle + 0.4], depth=4)
        text = figure_text(at, METRIC_BY_NAME[metric].unit)
        panel.write(panel.x[1], middle, text, Lettering(theme.text), dx=0.08)


def _scale(metric: str, values: Sequence[float]) -> tuple[float, str]:
    """By what figures are divided, and what they are then in."""
    unit = METRIC_BY_NAME[metric].unit
    if unit == "bytes":
        return MIB, "MiB"
    if unit == "ns":
        return (1e9, "s") if max(values, default=0.0) >= 1e9 else (1e6, "ms")
    return 1.0, "tokens/s"

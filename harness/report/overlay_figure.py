"""Footprints of several trials on one axis, from the moment at which each began to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.core.units import MIB
from harness.report.figure_marks import Fill, Look, Mark, Stroke
from harness.report.figure_sheet import TICK_SIZE, Lettering, Sheet, text_width_in
from harness.report.figures_style import Theme
from harness.report.panel import Panel, legend, legend_height_in
from harness.report.timeline_parts import FAR_LIMIT, NS_PER_S, SampledTrial, above_zero, end_marker
from harness.report.trial_figure import curves
from harness.report.words import drawable, mib_text

WIDTH_IN = 9.0
LEFT_IN = 0.8
RIGHT_IN = 0.45
PANEL_IN = WIDTH_IN - LEFT_IN - RIGHT_IN
PLOT_HEIGHT_IN = 3.0
AXIS_IN = 0.48
HEAD_IN = 0.15
KEY_GAP_IN = 0.15
LOAD_PHASES = ("map", "read", "gpu_upload", "create_engine", "create_session")
"""A load begins with the first of them."""
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.5), (8, 2, 1, 2), (3, 1.5))


@dataclass(frozen=True)
class Overlaid:
    """A side of the picture."""

    key: str
    """One or two signs that stand at its line's end and in tables."""
    name: str
    trial: SampledTrial

    @cached_property
    def line(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `since_load`."""
        return since_load(self.trial)


def side_look(number: int, theme: Theme) -> Stroke:
    """Of a side by its number from 0: colour and dashes together are its own for the first 25."""
    colors = (theme.footprint, theme.resident, theme.host, theme.limit, theme.text)
    dashes = _DASHES[(number + number // len(colors)) % len(_DASHES)]
    return Stroke(colors[number % len(colors)], 1.8, dashes)


def since_load(trial: SampledTrial) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds since the load began, and the footprint in MiB, NaN in gaps; nothing of before it."""
    found = curves(trial)
    seconds = found.app_s - load_begin_s(trial)
    footprint = found.app.get("footprint_bytes", np.full(seconds.shape, np.nan))
    return seconds[seconds >= 0], footprint[seconds >= 0]


def load_begin_s(trial: SampledTrial) -> float:
    """Seconds from the trial's begin to that of the load; 0 where no phase of the load is known."""
    begins = [phase.begin_ns for phase in trial.record.phases if phase.name in LOAD_PHASES]
    return (min(begins) - trial.origin_ns) / NS_PER_S if begins else 0.0


def overlay_figure(sides: Sequence[Overlaid], theme: Theme) -> Figure:
    """Draws within `style(theme)`; each side in its own looks, with its key where its line ends."""
    lines = [side.line for side in sides]
    x_max = above_zero(max((float(seconds[-1]) for seconds, _ in lines if seconds.size), default=0.0))
    tops = [float(np.nanmax(values)) for _, values in lines if values.size and not np.isnan(values).all()]
    top_mib = above_zero(max(tops, default=0.0))
    limits = {side.trial.record.footprint_limit_bytes for side in sides} - {None}
    limit_mib = limits.pop() / MIB if len(limits) == 1 else None  # type: ignore[operator]  # without None
    near = limit_mib is not None and limit_mib <= FAR_LIMIT * top_mib
    items: list[tuple[str, Look]] = [
        (drawable(f"{side.key}  {side.name}")[:70], side_look(number, theme)) for number, side in enumerate(sides)
    ]
    foot_in = AXIS_IN + legend_height_in(PANEL_IN, items)
    sheet = Sheet(WIDTH_IN, foot_in + PLOT_HEIGHT_IN + HEAD_IN, theme)
    y_max = 1.12 * max(top_mib, limit_mib if near and limit_mib is not None else 0.0)
    plot = Panel(sheet, (LEFT_IN, foot_in, PANEL_IN, PLOT_HEIGHT_IN), (0.0, x_max * 1.01), (0.0, y_max))
    plot.box(plot.x, fill=Fill(theme.bands[0]))
    plot.y_axis("MiB")
    plot.x_axis("seconds since the load began")
    if limit_mib is not None:
        label = f"footprint limit {mib_text(limit_mib * MIB)}"
        if near:
            plot.level(limit_mib, Stroke(theme.limit, 1.4, (6, 2, 1, 2)))
            plot.write(0, limit_mib, label, Lettering(theme.limit, va="bottom"), dx=0.04, dy=0.04)
        else:
            plot.write(0, y_max, f"↑ {label}", Lettering(theme.limit, va="top"), dx=0.04, dy=-0.05)
    ends = []
    for number, (side, (seconds, values)) in enumerate(zip(sides, lines, strict=True)):
        look = side_look(number, theme)
        plot.draw(look, seconds, values, depth=3 + number / 100)
        known = np.flatnonzero(~np.isnan(values))
        if not known.size:
            continue
        at_s, at_mib = float(seconds[known[-1]]), float(values[known[-1]])
        marker = end_marker(side.trial.record)
        if marker is not None:
            plot.draw(Mark(marker, theme.death, 9, edge=theme.background), [at_s], [at_mib], depth=6)
        ends.append((side.key, at_s + 0.06 / plot.x_in * (marker is not None), at_mib, look.color))
    _draw_keys(plot, ends)
    legend(sheet, LEFT_IN, legend_height_in(PANEL_IN, items), PANEL_IN, items)
    return sheet.figure


def _draw_keys(plot: Panel, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Right of the lines' ends, pushed up where they would cover one another."""
    behind = Fill(plot.sheet.theme.background, 0.8)
    placed: list[tuple[float, float, float]] = []
    for key, at_s, at_mib, color in sorted(ends, key=lambda end: end[2]):
        x = plot.left + (at_s - plot.x[0]) * plot.x_in + 0.1
        y = plot.bottom + (at_mib - plot.y[0]) * plot.y_in
        width = text_width_in(key, TICK_SIZE, bold=True) + 0.05
        for left, right, taken in placed:
            if left < x + width and x < right and y < taken + KEY_GAP_IN:
                y = max(y, taken + KEY_GAP_IN)
        placed.append((x, x + width, y))
        plot.sheet.write(x, y, key, Lettering(color, bold=True, behind=behind, depth=7))

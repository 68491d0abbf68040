"""Footprints of several trials on one axis, from the moment at which each began to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.report.figures_style import MIB, Theme
from harness.report.panel import TICK_SIZE, Looks, Panel, legend, legend_height_in, text_width_in, write
from harness.report.timeline_parts import FAR_LIMIT, NS_PER_S, Trial, above_zero, end_marker, trial_origin_ns
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
_DASHES = ((None, None), (5, 2), (1, 1.5), (8, 2, 1, 2), (3, 1.5))


@dataclass(frozen=True)
class Overlaid:
    """A side of the picture."""

    key: str
    """One or two signs that stand at its line's end and in tables."""
    name: str
    trial: Trial


def side_looks(number: int, theme: Theme) -> Looks:
    """Of a side by its number from 0: colour and dashes together are its own for the first 25."""
    colors = (theme.footprint, theme.resident, theme.host, theme.limit, theme.text)
    dashes = _DASHES[(number + number // len(colors)) % len(_DASHES)]
    return {"color": colors[number % len(colors)], "linewidth": 1.8, "dashes": dashes}


def since_load(trial: Trial) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds since the load began, and the footprint in MiB, NaN in gaps; nothing of before it."""
    found = curves(trial)
    seconds = found.app_s - load_begin_s(trial)
    footprint = found.app.get("footprint_bytes", np.full(seconds.shape, np.nan))
    return seconds[seconds >= 0], footprint[seconds >= 0]


def load_begin_s(trial: Trial) -> float:
    """Seconds from the trial's begin to that of the load; 0 where no phase of the load is known."""
    begins = [phase.begin_ns for phase in trial.record.phases if phase.name in LOAD_PHASES]
    return (min(begins) - trial_origin_ns(trial)) / NS_PER_S if begins else 0.0


def overlay_figure(sides: Sequence[Overlaid], theme: Theme) -> Figure:
    """Draws within `style(theme)`; each side in its own looks, with its key where its line ends."""
    lines = [since_load(side.trial) for side in sides]
    x_max = above_zero(max((float(seconds[-1]) for seconds, _ in lines if seconds.size), default=0.0))
    tops = [float(np.nanmax(values)) for _, values in lines if values.size and not np.isnan(values).all()]
    top_mib = above_zero(max(tops, default=0.0))
    limits = {side.trial.record.footprint_limit_bytes for side in sides} - {None}
    limit_mib = limits.pop() / MIB if len(limits) == 1 else None  # type: ignore[operator]  # without None
    near = limit_mib is not None and limit_mib <= FAR_LIMIT * top_mib
    items = [
        (drawable(f"{side.key}  {side.name}")[:70], side_looks(number, theme)) for number, side in enumerate(sides)
    ]
    foot_in = AXIS_IN + legend_height_in(PANEL_IN, items)
    figure = Figure(figsize=(WIDTH_IN, foot_in + PLOT_HEIGHT_IN + HEAD_IN))
    y_max = 1.12 * max(top_mib, limit_mib if near and limit_mib is not None else 0.0)
    plot = Panel(figure, (LEFT_IN, foot_in, PANEL_IN, PLOT_HEIGHT_IN), (0.0, x_max * 1.01), (0.0, y_max))
    plot.box(plot.x, color=theme.bands[0])
    plot.y_axis(theme, "MiB")
    plot.x_axis(theme, "seconds since the load began")
    if limit_mib is not None:
        label = f"footprint limit {mib_text(limit_mib * MIB)}"
        if near:
            plot.level(limit_mib, color=theme.limit, linewidth=1.4, dashes=(6, 2, 1, 2), zorder=2)
            plot.text(0, limit_mib, label, dx=0.04, dy=0.04, va="bottom", color=theme.limit)
        else:
            plot.text(0, y_max, f"↑ {label}", dx=0.04, dy=-0.05, va="top", color=theme.limit)
    ends = []
    for number, (side, (seconds, values)) in enumerate(zip(sides, lines, strict=True)):
        looks = side_looks(number, theme)
        plot.line(seconds, values, zorder=3 + number / 100, **looks)
        known = np.flatnonzero(~np.isnan(values))
        if not known.size:
            continue
        at_s, at_mib = float(seconds[known[-1]]), float(values[known[-1]])
        marker = end_marker(side.trial.record)
        if marker is not None:
            cross: Looks = {"color": theme.death, "markeredgecolor": theme.background, "markersize": 9, "zorder": 6}
            plot.line([at_s], [at_mib], linestyle="", marker=marker, **cross)
        ends.append((side.key, at_s + 0.06 / plot.x_in * (marker is not None), at_mib, str(looks["color"])))
    _draw_keys(plot, ends, theme)
    legend(figure, LEFT_IN, legend_height_in(PANEL_IN, items), PANEL_IN, items)
    return figure


def _draw_keys(plot: Panel, ends: Sequence[tuple[str, float, float, str]], theme: Theme) -> None:
    """Right of the lines' ends, pushed up where they would cover one another."""
    behind = {"facecolor": theme.background, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
    placed: list[tuple[float, float, float]] = []
    y_scale = plot.height / (plot.y[1] - plot.y[0])
    for key, at_s, at_mib, color in sorted(ends, key=lambda end: end[2]):
        x = plot.left + (at_s - plot.x[0]) * plot.x_in + 0.1
        y = plot.bottom + (at_mib - plot.y[0]) * y_scale
        width = text_width_in(key, TICK_SIZE, bold=True) + 0.05
        for left, right, taken in placed:
            if left < x + width and x < right and y < taken + KEY_GAP_IN:
                y = max(y, taken + KEY_GAP_IN)
        placed.append((x, x + width, y))
        write(
            plot.figure, x, y, key, size=TICK_SIZE, va="center", color=color, fontweight="bold", bbox=behind, zorder=7
        )

"""The memory of one trial for its page: every curve that was sampled, phases, limit, notices, cuts, and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.core.telemetry import Source
from harness.report.figures_style import MIB, Theme
from harness.report.panel import Looks, Panel, legend, legend_height_in, text_width_in
from harness.report.timeline_parts import (
    FAR_LIMIT,
    NS_PER_S,
    Span,
    Trial,
    above_zero,
    end_marker,
    levels,
    sample_gap_ns,
    shortened,
    spans,
    trial_origin_ns,
)
from harness.report.words import mib_text

WIDTH_IN = 9.0
LEFT_IN = 0.8
PANEL_IN = WIDTH_IN - LEFT_IN - 0.25
PLOT_HEIGHT_IN = 3.0
AXIS_IN = 0.48
STRIP_ROW_IN = 0.2
LANE_IN = 0.22
LANES_GAP_IN = 0.1
NAME_SIZE = 8.0
NAME_INDENT_IN = 0.05
"""Room on either side of a phase's name."""
WARNING_DISTANCE_BYTES = 100 * MIB
WARNING_LEAST_SHARE = 0.8
"""The kernel warns an app so far below its limit, and never below this share of it."""
THERMAL_STATES = ("nominal", "fair", "serious", "critical")
MAX_NOTICES_NAMED = 8

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """A trial's readings as arrays; NaN where there is no figure. Times in seconds since the trial began."""

    app_s: Numbers
    app: dict[str, Numbers]
    """Column → MiB (`thermal` as it is), along with `app_s`, whose gaps have a row of NaN."""
    host_s: Numbers
    host_mib: Numbers

    @property
    def end_s(self) -> float:
        """The last time that anything is known of."""
        return max(float(self.app_s[-1]) if self.app_s.size else 0.0, float(self.host_s[-1]) if self.host_s.size else 0)

    def largest(self, *columns: str) -> float:
        """MiB; 0 where nothing was sampled."""
        kept = [self.app[name] for name in columns if name in self.app]
        return max((float(np.nanmax(one)) for one in [*kept, self.host_mib] if one.size), default=0.0)


CURVES = ("footprint_bytes", "resident_bytes", "metal_bytes", "available_bytes")


def curves(trial: Trial) -> Curves:
    """What is drawn of a trial's readings; a column that was never sampled is not there."""
    readings = trial.readings
    of_app = (readings["source"] == Source.APP.value).to_numpy()
    times_ns = readings["t_ns"].to_numpy(dtype=np.int64)
    seconds = (times_ns - trial_origin_ns(trial)) / NS_PER_S
    at = np.argsort(times_ns[of_app], kind="stable")
    app_s = seconds[of_app][at]
    late = np.flatnonzero(np.diff(app_s) * NS_PER_S > sample_gap_ns(trial.record)) + 1
    breaks_s = (app_s[late - 1] + app_s[late]) / 2
    found = {}
    for name in (*CURVES, "thermal"):
        values = _floats(readings[name])[of_app][at]
        if not np.isnan(values).all():
            found[name] = np.insert(values if name == "thermal" else values / MIB, late, np.nan)
    host_mib = _floats(readings["footprint_bytes"]) / MIB
    # the monitor starts before the trial does
    of_host = ~of_app & ~np.isnan(host_mib) & (seconds >= 0)
    return Curves(np.insert(app_s, late, breaks_s), found, seconds[of_host], host_mib[of_host])


def _floats(values: pd.Series[Any]) -> Numbers:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def trial_figure(trial: Trial, theme: Theme) -> Figure:
    """Draws within `style(theme)`."""
    found = curves(trial)
    record = trial.record
    end_s = found.end_s
    phases = spans(trial, end_s)
    end_s = above_zero(max([end_s, *(span.end_s for span in phases)]))
    top_mib = above_zero(found.largest("footprint_bytes", "resident_bytes", "metal_bytes"))
    limit_mib = None if record.footprint_limit_bytes is None else record.footprint_limit_bytes / MIB
    near = limit_mib is not None and limit_mib <= FAR_LIMIT * top_mib
    names_in = [text_width_in(span.name, NAME_SIZE) + 2 * NAME_INDENT_IN for span in phases]
    told = _end_text(trial, found)
    reserve_in = (
        0.0 if told is None else min(0.4 * PANEL_IN, max(text_width_in(one, 9, bold=True) for one in told) + 0.3)
    )
    # the name of a phase that begins late must not run out of the picture
    named_to = [span.begin_s / (1 - min(width / PANEL_IN, 0.9)) for span, width in zip(phases, names_in, strict=True)]
    x_max = max([end_s / (1 - reserve_in / PANEL_IN), end_s * 1.02, *named_to])

    rows = levels([span.begin_s for span in phases], [width * x_max / PANEL_IN for width in names_in])
    strip_in = STRIP_ROW_IN * (max(rows, default=-1) + 1)
    lanes = [lane for lane in (_host_lane(trial, x_max), _thermal_lane(found)) if lane.spans]
    items = _legend_items(found, theme, near=near, host=bool(found.host_s.size))
    foot_in = AXIS_IN + legend_height_in(PANEL_IN, items)
    lanes_in = LANE_IN * len(lanes) + (LANES_GAP_IN if lanes else 0)
    height = foot_in + lanes_in + PLOT_HEIGHT_IN + strip_in + 0.1
    figure = Figure(figsize=(WIDTH_IN, height))
    plot = Panel(
        figure,
        (LEFT_IN, foot_in + lanes_in, PANEL_IN, PLOT_HEIGHT_IN),
        (0.0, x_max),
        (0.0, 1.15 * max(top_mib, limit_mib if near and limit_mib is not None else 0.0)),
    )
    _draw_phases(figure, plot, phases, rows, strip_in, theme)
    plot.y_axis(theme, "MiB")
    plot.x_axis(theme, "seconds since the trial began (app's clock)", below_in=lanes_in)
    _draw_cuts(plot, trial, theme)
    _draw_curves(plot, found, theme, near=near)
    if limit_mib is not None:
        _draw_limit(plot, limit_mib, theme, near=near)
    _draw_notices(plot, trial, theme)
    if told is not None:
        _draw_end(plot, trial, found, told, theme)
    for number, lane in enumerate(lanes):
        _draw_lane(plot, lane, plot.bottom - LANES_GAP_IN - LANE_IN * (number + 1), theme)
    legend(figure, LEFT_IN, legend_height_in(PANEL_IN, items), PANEL_IN, items)
    return figure


def _draw_phases(
    figure: Figure, plot: Panel, phases: list[Span], rows: list[int], strip_in: float, theme: Theme
) -> None:
    top = plot.bottom + plot.height
    strip = Panel(figure, (plot.left, top, plot.width, strip_in or 1), plot.x, (0, strip_in / STRIP_ROW_IN or 1))
    for index, (span, row) in enumerate(zip(phases, rows, strict=True)):
        color = theme.bands[index % 2]
        plot.box((span.begin_s, span.end_s), color=color)
        strip.box((span.begin_s, span.end_s), color=color)
        strip.line([span.begin_s] * 2, [0, row + 1], color=theme.muted, linewidth=0.6, zorder=1)
        strip.text(span.begin_s, row + 0.5, span.name, size=NAME_SIZE, dx=NAME_INDENT_IN, va="center")


def _curve_looks(theme: Theme) -> dict[str, tuple[str, Looks]]:
    return {
        "available_bytes": ("available", {"color": theme.muted, "linewidth": 1.2, "dashes": (1, 2)}),
        "metal_bytes": ("metal (GPU)", {"color": theme.text, "linewidth": 1.2, "dashes": (7, 2, 1, 2)}),
        "resident_bytes": ("resident", {"color": theme.resident, "linewidth": 1.8, "dashes": (5, 2)}),
        "footprint_bytes": ("footprint", {"color": theme.footprint, "linewidth": 2.2}),
    }


def _host_looks(theme: Theme) -> Looks:
    return {"color": theme.host, "linestyle": "", "marker": "o", "markersize": 4}


def _shown(found: Curves, name: str, *, near: bool) -> bool:
    """What is left to the app is as far up as the limit."""
    return name in found.app and (near or name != "available_bytes")


def _draw_curves(plot: Panel, found: Curves, theme: Theme, *, near: bool) -> None:
    for order, (name, (_, looks)) in enumerate(_curve_looks(theme).items()):
        if _shown(found, name, near=near):
            values = found.app[name]
            values = np.where(values <= plot.y[1], values, np.nan)
            alone = {"marker": "."} if found.app_s.size == 1 else {}
            plot.line(found.app_s, values, zorder=3 + order / 10, **looks, **alone)
    if found.host_s.size:
        plot.line(found.host_s, found.host_mib, zorder=4, **_host_looks(theme))


def _legend_items(found: Curves, theme: Theme, *, near: bool, host: bool) -> list[tuple[str, Looks]]:
    items = [
        (label, looks)
        for name, (label, looks) in reversed(_curve_looks(theme).items())
        if _shown(found, name, near=near)
    ]
    return [*items, ("footprint, seen by the host", _host_looks(theme))] if host else items


def _behind(theme: Theme) -> Looks:
    """So that a text is read where it stands on lines."""
    return {"facecolor": theme.background, "edgecolor": "none", "pad": 1.0, "alpha": 0.7}


def _draw_limit(plot: Panel, limit_mib: float, theme: Theme, *, near: bool) -> None:
    label = f"footprint limit {mib_text(limit_mib * MIB)}"
    looks: Looks = {"color": theme.limit, "dx": 0.04, "zorder": 5, "bbox": _behind(theme)}
    if not near:
        plot.text(plot.x[0], plot.y[1], f"↑ {label}", dy=-0.05, va="top", **looks)
        return
    plot.level(limit_mib, color=theme.limit, linewidth=1.4, dashes=(6, 2, 1, 2), zorder=2)
    plot.text(plot.x[0], limit_mib, label, dy=0.04, va="bottom", **looks)
    warning_mib = max(limit_mib - WARNING_DISTANCE_BYTES / MIB, limit_mib * WARNING_LEAST_SHARE)
    plot.level(warning_mib, color=theme.limit, linewidth=0.9, dashes=(2, 3), zorder=2)
    plot.text(plot.x[0], warning_mib, f"memory warning from {mib_text(warning_mib * MIB)}", dy=-0.04, va="top", **looks)


def _draw_notices(plot: Panel, trial: Trial, theme: Theme) -> None:
    origin = trial_origin_ns(trial)
    named_to = 0.0
    for number, notice in enumerate(trial.record.notices):
        at_s = (notice.at_ns - origin) / NS_PER_S
        if not plot.x[0] <= at_s <= plot.x[1]:
            continue
        plot.upright(at_s, color=theme.death, linewidth=0.9, dashes=(3, 2), zorder=2.5)
        plot.line([at_s], [plot.y[1]], color=theme.death, linestyle="", marker="v", markersize=6, zorder=5)
        if at_s < named_to or number >= MAX_NOTICES_NAMED:
            continue
        text = shortened(notice.kind.replace("_", " ") + (f": {notice.text}" if notice.text else ""))
        plot.text(
            at_s, 0, text, dx=0.03, dy=0.06, va="bottom", rotation=90, color=theme.death, zorder=6, bbox=_behind(theme)
        )
        named_to = at_s + 0.18 / plot.x_in


def _draw_cuts(plot: Panel, trial: Trial, theme: Theme) -> None:
    origin = trial_origin_ns(trial)
    for cut in trial.record.cuts:
        if cut.app_gone_ns is None:
            continue
        begin_s = (cut.app_gone_ns - origin) / NS_PER_S
        end_s = plot.x[1] if cut.app_back_ns is None else (cut.app_back_ns - origin) / NS_PER_S
        if begin_s < plot.x[1] and end_s > plot.x[0]:
            plot.box((begin_s, end_s), color=theme.death, alpha=0.14, zorder=1)
            plot.text(max(begin_s, 0), 0, "phone away", dx=0.04, dy=0.05, va="bottom", color=theme.death, zorder=6)


def _end_text(trial: Trial, found: Curves) -> tuple[str, ...] | None:
    """What is written at the last sample of a trial that did not measure."""
    footprint = found.app.get("footprint_bytes")
    if end_marker(trial.record) is None or footprint is None:
        return None
    last = float(footprint[~np.isnan(footprint)][-1])
    return shortened(trial.record.outcome or "unknown"), "last seen at", mib_text(last * MIB)


def _draw_end(plot: Panel, trial: Trial, found: Curves, told: tuple[str, ...], theme: Theme) -> None:
    footprint = found.app["footprint_bytes"]
    last = int(np.flatnonzero(~np.isnan(footprint))[-1])
    at_s, at_mib = float(found.app_s[last]), float(footprint[last])
    looks: Looks = {"color": theme.death, "markeredgecolor": theme.background, "markersize": 10, "zorder": 6}
    plot.line([at_s], [at_mib], linestyle="", marker=end_marker(trial.record), **looks)
    va = "top" if at_mib > 0.4 * plot.y[1] else "bottom"
    plot.text(
        at_s, at_mib, "\n".join(told), size=9, dx=0.14, va=va, color=theme.death, fontweight="bold", zorder=7,
        bbox=_behind(theme),
    )  # fmt: skip  # one text


@dataclass(frozen=True)
class _Lane:
    """A row below the plot: what was so from when to when."""

    name: str
    spans: tuple[Span, ...]


def _host_lane(trial: Trial, x_max: float) -> _Lane:
    """What the harness did meanwhile; most of it is before and after the trial, and is told in words."""
    origin = trial_origin_ns(trial)
    found = []
    for step in trial.record.host_steps:
        if step.app_begin_ns is None:
            continue
        begin_s = (step.app_begin_ns - origin) / NS_PER_S
        end_s = x_max if step.app_end_ns is None else (step.app_end_ns - origin) / NS_PER_S
        if begin_s < x_max and end_s > 0:
            found.append(Span(shortened(step.name), max(begin_s, 0.0), min(end_s, x_max)))
    return _Lane("host", tuple(found))


def _thermal_lane(found: Curves) -> _Lane:
    states = found.app.get("thermal")
    if states is None:
        return _Lane("thermal", ())
    known = np.flatnonzero(~np.isnan(states))
    values, times = states[known], found.app_s[known]
    begins = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()]
    ends = [*begins[1:], len(values) - 1]
    return _Lane(
        "thermal",
        tuple(
            Span(_thermal_text(float(values[begin])), float(times[begin]), float(times[end]))
            for begin, end in zip(begins, ends, strict=True)
        ),
    )


def _thermal_text(state: float) -> str:
    return THERMAL_STATES[int(state)] if 0 <= state < len(THERMAL_STATES) else f"{state:.0f}"


def _draw_lane(plot: Panel, lane: _Lane, bottom_in: float, theme: Theme) -> None:
    row = Panel(plot.figure, (plot.left, bottom_in, plot.width, LANE_IN), plot.x)
    row.text(plot.x[0], 0.5, lane.name, dx=-0.08, ha="right", va="center", color=theme.muted)
    named_to = -1.0
    for index, span in enumerate(lane.spans):
        row.box((span.begin_s, span.end_s), (0.12, 0.88), color=theme.bands[index % 2])
        row.line([span.begin_s] * 2, [0.12, 0.88], color=theme.muted, linewidth=0.6, zorder=1)
        room = (span.end_s - span.begin_s) * row.x_in
        if text_width_in(span.name, NAME_SIZE) + 2 * NAME_INDENT_IN <= room and span.begin_s >= named_to:
            row.text(span.begin_s, 0.5, span.name, size=NAME_SIZE, dx=NAME_INDENT_IN, va="center")
            named_to = span.begin_s + text_width_in(span.name, NAME_SIZE) / row.x_in

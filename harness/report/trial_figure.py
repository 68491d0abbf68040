"""The memory of one trial for its page: every curve that was sampled, phases, limit, notices, cuts, and its end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.core.units import MIB
from harness.report.figure_marks import Fill, Look, Mark, Stroke
from harness.report.figure_sheet import Lettering, Sheet, text_width_in
from harness.report.figures_style import Theme
from harness.report.panel import Panel, legend, legend_height_in
from harness.report.timeline_parts import (
    FAR_LIMIT,
    NS_PER_S,
    SampledTrial,
    Span,
    above_zero,
    end_marker,
    levels,
    sample_gap_ns,
    shortened,
    spans,
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


def curves(trial: SampledTrial) -> Curves:
    """What is drawn of a trial's readings; a column that was never sampled is not there."""
    readings = trial.readings
    seconds = (readings.t_ns - trial.origin_ns) / NS_PER_S
    app_s = seconds[readings.of_app]
    late = np.flatnonzero(np.diff(app_s) * NS_PER_S > sample_gap_ns(trial.record)) + 1
    breaks_s = (app_s[late - 1] + app_s[late]) / 2
    found = {}
    for name in (*CURVES, "thermal"):
        values = readings.floats(name)[readings.of_app]
        if not np.isnan(values).all():
            found[name] = np.insert(values if name == "thermal" else values / MIB, late, np.nan)
    host_mib = readings.floats("footprint_bytes") / MIB
    # the monitor starts before the trial does
    of_host = readings.of_host & ~np.isnan(host_mib) & (seconds >= 0)
    return Curves(np.insert(app_s, late, breaks_s), found, seconds[of_host], host_mib[of_host])


def trial_figure(trial: SampledTrial, theme: Theme) -> Figure:
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
    sheet = Sheet(WIDTH_IN, height, theme)
    plot = Panel(
        sheet,
        (LEFT_IN, foot_in + lanes_in, PANEL_IN, PLOT_HEIGHT_IN),
        (0.0, x_max),
        (0.0, 1.15 * max(top_mib, limit_mib if near and limit_mib is not None else 0.0)),
    )
    _draw_phases(plot, phases, rows, strip_in)
    plot.y_axis("MiB")
    plot.x_axis("seconds since the trial began (app's clock)", below_in=lanes_in)
    _draw_cuts(plot, trial)
    _draw_curves(plot, found, near=near)
    if limit_mib is not None:
        _draw_limit(plot, limit_mib, near=near)
    _draw_notices(plot, trial)
    if told is not None:
        _draw_end(plot, trial, found, told)
    for number, lane in enumerate(lanes):
        _draw_lane(plot, lane, plot.bottom - LANES_GAP_IN - LANE_IN * (number + 1))
    legend(sheet, LEFT_IN, legend_height_in(PANEL_IN, items), PANEL_IN, items)
    return sheet.figure


def _draw_phases(plot: Panel, phases: list[Span], rows: list[int], strip_in: float) -> None:
    theme, top = plot.sheet.theme, plot.bottom + plot.height
    strip = Panel(plot.sheet, (plot.left, top, plot.width, strip_in or 1), plot.x, (0, strip_in / STRIP_ROW_IN or 1))
    for index, (span, row) in enumerate(zip(phases, rows, strict=True)):
        fill = Fill(theme.bands[index % 2])
        plot.box((span.begin_s, span.end_s), fill=fill)
        strip.box((span.begin_s, span.end_s), fill=fill)
        strip.draw(Stroke(theme.muted, 0.6), [span.begin_s] * 2, [0, row + 1], depth=1)
        strip.write(span.begin_s, row + 0.5, span.name, Lettering(theme.text, NAME_SIZE), dx=NAME_INDENT_IN)


def _curve_looks(theme: Theme) -> dict[str, tuple[str, Stroke]]:
    return {
        "available_bytes": ("available", Stroke(theme.muted, 1.2, (1, 2))),
        "metal_bytes": ("metal (GPU)", Stroke(theme.text, 1.2, (7, 2, 1, 2))),
        "resident_bytes": ("resident", Stroke(theme.resident, 1.8, (5, 2))),
        "footprint_bytes": ("footprint", Stroke(theme.footprint, 2.2)),
    }


def _host_look(theme: Theme) -> Mark:
    return Mark("o", theme.host, 5)


def _shown(found: Curves, name: str, *, near: bool) -> bool:
    """What is left to the app is as far up as the limit."""
    return name in found.app and (near or name != "available_bytes")


def _draw_curves(plot: Panel, found: Curves, *, near: bool) -> None:
    for order, (name, (_, look)) in enumerate(_curve_looks(plot.sheet.theme).items()):
        if _shown(found, name, near=near):
            values = found.app[name]
            values = np.where(values <= plot.y[1], values, np.nan)
            # a line through one place is nothing
            shown: Look = Mark("o", look.color, 4) if found.app_s.size == 1 else look
            plot.draw(shown, found.app_s, values, depth=3 + order / 10)
    plot.draw(_host_look(plot.sheet.theme), found.host_s, found.host_mib, depth=4)


def _legend_items(found: Curves, theme: Theme, *, near: bool, host: bool) -> list[tuple[str, Look]]:
    items: list[tuple[str, Look]] = [
        (label, look) for name, (label, look) in reversed(_curve_looks(theme).items()) if _shown(found, name, near=near)
    ]
    return [*items, ("footprint, seen by the host", _host_look(theme))] if host else items


def _behind(theme: Theme) -> Fill:
    """So that a text is read where it stands on lines."""
    return Fill(theme.background, 0.7)


def _draw_limit(plot: Panel, limit_mib: float, *, near: bool) -> None:
    theme = plot.sheet.theme
    label = f"footprint limit {mib_text(limit_mib * MIB)}"
    above = Lettering(theme.limit, va="bottom", behind=_behind(theme), depth=5)
    below = replace(above, va="top")
    if not near:
        plot.write(plot.x[0], plot.y[1], f"↑ {label}", below, dx=0.04, dy=-0.05)
        return
    plot.level(limit_mib, Stroke(theme.limit, 1.4, (6, 2, 1, 2)))
    plot.write(plot.x[0], limit_mib, label, above, dx=0.04, dy=0.04)
    warning_mib = max(limit_mib - WARNING_DISTANCE_BYTES / MIB, limit_mib * WARNING_LEAST_SHARE)
    plot.level(warning_mib, Stroke(theme.limit, 0.9, (2, 3)))
    plot.write(plot.x[0], warning_mib, f"memory warning from {mib_text(warning_mib * MIB)}", below, dx=0.04, dy=-0.04)


def _draw_notices(plot: Panel, trial: SampledTrial) -> None:
    theme = plot.sheet.theme
    line, mark = Stroke(theme.death, 0.9, (3, 2)), Mark("v", theme.death, 6, edge=theme.death)
    words = Lettering(theme.death, va="top", upright=True, behind=_behind(theme), depth=6)
    named_to = 0.0
    for number, notice in enumerate(trial.record.notices):
        at_s = (notice.at_ns - trial.origin_ns) / NS_PER_S
        if not plot.x[0] <= at_s <= plot.x[1]:
            continue
        plot.upright(at_s, line, depth=2.5)
        plot.draw(mark, [at_s], [plot.y[1]], depth=5)
        if at_s < named_to or number >= MAX_NOTICES_NAMED:
            continue
        text = shortened(notice.kind.replace("_", " ") + (f": {notice.text}" if notice.text else ""))
        plot.write(at_s, 0, text, words, dx=0.03, dy=0.06)
        named_to = at_s + 0.18 / plot.x_in


def _draw_cuts(plot: Panel, trial: SampledTrial) -> None:
    color = plot.sheet.theme.death
    for cut in trial.record.cuts:
        if cut.app_gone_ns is None:
            continue
        begin_s = (cut.app_gone_ns - trial.origin_ns) / NS_PER_S
        end_s = plot.x[1] if cut.app_back_ns is None else (cut.app_back_ns - trial.origin_ns) / NS_PER_S
        if begin_s < plot.x[1] and end_s > plot.x[0]:
            plot.box((begin_s, end_s), fill=Fill(color, 0.14), depth=1)
            # right of the name of a notice that came with it
            words = Lettering(color, va="bottom", depth=5.5)
            plot.write(max(begin_s, 0), 0, "phone away", words, dx=0.24, dy=0.05)


def _end_text(trial: SampledTrial, found: Curves) -> tuple[str, ...] | None:
    """What is written at the last sample of a trial that did not measure."""
    footprint = found.app.get("footprint_bytes")
    if end_marker(trial.record) is None or footprint is None:
        return None
    last = float(footprint[~np.isnan(footprint)][-1])
    return shortened(trial.record.outcome or "unknown"), "last seen at", mib_text(last * MIB)


def _draw_end(plot: Panel, trial: SampledTrial, found: Curves, told: tuple[str, ...]) -> None:
    theme = plot.sheet.theme
    footprint = found.app["footprint_bytes"]
    last = int(np.flatnonzero(~np.isnan(footprint))[-1])
    at_s, at_mib = float(found.app_s[last]), float(footprint[last])
    plot.draw(Mark(end_marker(trial.record) or "X", theme.death, 10, edge=theme.background), [at_s], [at_mib], depth=6)
    va = "top" if at_mib > 0.4 * plot.y[1] else "bottom"
    words = Lettering(theme.death, 9, bold=True, va=va, behind=_behind(theme), depth=7)
    plot.write(at_s, at_mib, "\n".join(told), words, dx=0.14)


@dataclass(frozen=True)
class _Lane:
    """A row below the plot: what was so from when to when."""

    name: str
    spans: tuple[Span, ...]


def _host_lane(trial: SampledTrial, x_max: float) -> _Lane:
    """What the harness did meanwhile; most of it is before and after the trial, and is told in words."""
    origin = trial.origin_ns
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


def _draw_lane(plot: Panel, lane: _Lane, bottom_in: float) -> None:
    theme = plot.sheet.theme
    row = Panel(plot.sheet, (plot.left, bottom_in, plot.width, LANE_IN), plot.x)
    row.write(plot.x[0], 0.5, lane.name, Lettering(theme.muted, ha="right"), dx=-0.08)
    named_to = -1.0
    for index, span in enumerate(lane.spans):
        row.box((span.begin_s, span.end_s), (0.12, 0.88), fill=Fill(theme.bands[index % 2]))
        row.draw(Stroke(theme.muted, 0.6), [span.begin_s] * 2, [0.12, 0.88], depth=1)
        room = (span.end_s - span.begin_s) * row.x_in
        if text_width_in(span.name, NAME_SIZE) + 2 * NAME_INDENT_IN <= room and span.begin_s >= named_to:
            row.write(span.begin_s, 0.5, span.name, Lettering(theme.text, NAME_SIZE), dx=NAME_INDENT_IN)
            named_to = span.begin_s + text_width_in(span.name, NAME_SIZE) / row.x_in

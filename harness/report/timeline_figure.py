"""The memory of one case over time: every trial, one of them bold, with its phases, its limit and how it ended."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.timeline import with_gaps
from harness.core.outcome import EMULATED_GPU
from harness.core.record import TrialRecord
from harness.core.telemetry import Source
from harness.core.units import MIB
from harness.report.figures_style import Theme, width_in
from harness.report.timeline_parts import FAR_LIMIT, Span, Trial, end_marker, levels, spans
from harness.report.words import case_text, device_text, drawable, mib_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

WIDTH_IN = 9.0
LEFT_IN = 0.75
AXES_IN = WIDTH_IN - LEFT_IN - 0.2
PLOT_HEIGHT_IN = 3.3
FOOT_IN = 0.85
STRIP_ROW_IN = 0.2
NAME_INDENT_IN = 0.05
"""Room on either side of a phase's name."""
TITLE_CHARACTERS = 78

__all__ = ["Trial", "timeline_figure"]


def timeline_figure(trials: Sequence[Trial], chosen: str, theme: Theme) -> Figure:
    """Draws within `style(theme)`. `chosen` is the id of the trial drawn bold; only it has phases, dots and an end."""
    bold = next(trial for trial in trials if trial.record.trial_id == chosen)
    figure = Figure()
    strip, plot = figure.subplots(2, 1, sharex=True)
    end_s, top_mib = 0.0, 0.0
    for trial in sorted(trials, key=lambda trial: trial is bold):
        end_s, top_mib = _extend((end_s, top_mib), _draw_lines(plot, trial, theme, bold=trial is bold))
    end_s, top_mib = _extend((end_s, top_mib), _draw_host(plot, bold, theme))
    phases = spans(bold, end_s)
    end_s = max([end_s, *(span.end_s for span in phases)]) or 1.0
    top_mib = top_mib or 1.0

    limit_mib = None if bold.record.footprint_limit_bytes is None else bold.record.footprint_limit_bytes / MIB
    near = limit_mib is not None and limit_mib <= FAR_LIMIT * top_mib
    plot.set_ylim(0, max(top_mib, limit_mib if near and limit_mib is not None else 0) * 1.15)
    reserve = _draw_end(figure, plot, bold, theme)
    names = _name_phases(figure, strip, phases, theme)
    widths_in = [width_in(figure, name) + 2 * NAME_INDENT_IN for name in names]
    # the name of a phase that begins late must not run out of the picture
    named_to = [span.begin_s / (1 - width / AXES_IN) for span, width in zip(phases, widths_in, strict=True)]
    x_max = max([end_s / (1 - reserve) if reserve else end_s * 1.02, *named_to])
    plot.set_xlim(0, x_max)
    if limit_mib is not None:
        _draw_limit(plot, limit_mib, theme, near=near)
    for index, span in enumerate(phases):
        plot.axvspan(span.begin_s, span.end_s, color=theme.bands[index % 2], linewidth=0, zorder=0)
    plot.set_xlabel("seconds since the trial began (app's clock)")
    plot.set_ylabel("MiB")
    plot.grid(axis="y", linewidth=0.6)
    plot.set_axisbelow(True)

    title = _title(bold.record, len(trials))
    head_in = 0.25 + 0.2 * len(title)
    strip_rows = _draw_strip(strip, phases, names, widths_in, x_max / AXES_IN, theme)
    strip_in = STRIP_ROW_IN * strip_rows
    height = head_in + strip_in + PLOT_HEIGHT_IN + FOOT_IN
    figure.set_size_inches(WIDTH_IN, height)
    left, width = LEFT_IN / WIDTH_IN, AXES_IN / WIDTH_IN
    plot.set_position((left, FOOT_IN / height, width, PLOT_HEIGHT_IN / height))
    strip.set_position((left, (FOOT_IN + PLOT_HEIGHT_IN) / height, width, strip_in / height))
    for number, (line, is_name) in enumerate(title):
        figure.text(
            0.12 / WIDTH_IN,
            1 - (0.24 + 0.2 * number) / height,
            line,
            va="center",
            fontsize=11 if is_name else 9,
            fontweight="bold" if is_name else "normal",
            color=theme.text if is_name else theme.muted,
        )
    _draw_legend(figure, bold, len(trials), theme)
    return figure


def _extend(known: tuple[float, float], new: tuple[float, float]) -> tuple[float, float]:
    return max(known[0], new[0]), max(known[1], new[1])


def _seconds(times_ns: pd.Series[int], trial: Trial) -> pd.Series[float]:
    return ((times_ns - trial.origin_ns) / 1e9).astype("float64")


def _mib(values: pd.Series[int]) -> pd.Series[float]:
    # NA becomes NaN, at which matplotlib breaks the line
    return values.astype("Float64").astype("float64") / MIB


def _draw_lines(plot: Axes, trial: Trial, theme: Theme, *, bold: bool) -> tuple[float, float]:
    """Footprint and resident of one trial; returns the last second and the largest MiB drawn."""
    frame = with_gaps(trial.readings, trial.record.sample_hz)
    times = _seconds(frame["t_ns"], trial)
    largest = 0.0
    for column, color, dashes in (
        ("resident_bytes", theme.resident, (5, 2)),
        ("footprint_bytes", theme.footprint, (None, None)),
    ):
        values = _mib(frame[column])
        if values.notna().any():
            largest = max(largest, float(values.max()))
            plot.plot(
                times,
                values,
                color=color,
                linewidth=2.0 if bold else 0.8,
                alpha=1.0 if bold else 0.65,
                dashes=dashes,
                marker="." if len(frame) == 1 else "",
                clip_on=False,
                zorder=4 if bold else 3,
            )
    return (float(times.max()) if len(times) else 0.0), largest


def _draw_host(plot: Axes, trial: Trial, theme: Theme) -> tuple[float, float]:
    host = trial.readings[(trial.readings["source"] == Source.HOST.value) & trial.readings["footprint_bytes"].notna()]
    if host.empty:
        return 0.0, 0.0
    times, values = _seconds(host["t_ns"], trial), _mib(host["footprint_bytes"])
    # the monitor starts before the trial does
    times, values = times[times >= 0], values[times >= 0]
    if times.empty:
        return 0.0, 0.0
    plot.plot(times, values, linestyle="", marker="o", markersize=4, color=theme.host, zorder=5)
    return float(times.max()), float(values.max())


def _name_phases(figure: Figure, strip: Axes, phases: list[Span], theme: Theme) -> list[Text]:
    """The names, not yet in their places."""
    strip.set_axis_off()
    return [strip.text(0, 0, span.name, fontsize=8, color=theme.text, va="center") for span in phases]


def _draw_strip(
    strip: Axes, phases: list[Span], names: list[Text], widths_in: list[float], scale: float, theme: Theme
) -> int:
    """Puts the names above the plot, right of the marks of their begins; returns the number of rows.

    `scale` is in seconds per inch.
    """
    of_names = levels([span.begin_s for span in phases], [width * scale for width in widths_in])
    rows = max(of_names, default=0) + 1
    strip.set_ylim(0, rows)
    for index, (span, name, level) in enumerate(zip(phases, names, of_names, strict=True)):
        name.set_position((span.begin_s + NAME_INDENT_IN * scale, level + 0.5))
        strip.axvspan(span.begin_s, span.end_s, color=theme.bands[index % 2], linewidth=0, zorder=0)
        strip.plot([span.begin_s] * 2, [0, level + 1], color=theme.muted, linewidth=0.6, zorder=1)
    return rows


def _draw_end(figure: Figure, plot: Axes, trial: Trial, theme: Theme) -> float:
    """Marks how the trial ended, if not well; returns the share of the width that its text needs on the right."""
    marker = end_marker(trial.record)
    app = trial.readings[(trial.readings["source"] == Source.APP.value) & trial.readings["footprint_bytes"].notna()]
    if marker is None or app.empty:
        return 0.0
    last = app.sort_values("t_ns").tail(1)
    time, value = float(_seconds(last["t_ns"], trial).iloc[0]), float(_mib(last["footprint_bytes"]).iloc[0])
    plot.plot(
        [time],
        [value],
        marker=marker,
        markersize=10,
        color=theme.death,
        markeredgecolor=theme.background,
        clip_on=False,
        zorder=6,
    )
    text = plot.annotate(
        f"{drawable(trial.record.outcome or 'unknown')}\nlast seen at\n{mib_text(value * MIB)}",
        (time, value),
        xytext=(10, 0),
        textcoords="offset points",
        ha="left",
        va="top" if value > 0.4 * plot.get_ylim()[1] else "bottom",
        color=theme.death,
        fontweight="bold",
        bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        zorder=7,
    )
    return min(0.45, (width_in(figure, text) + 0.3) / AXES_IN)


def _draw_limit(plot: Axes, limit_mib: float, theme: Theme, *, near: bool) -> None:
    label = f"footprint limit {mib_text(limit_mib * MIB)}"
    if near:
        plot.axhline(limit_mib, color=theme.limit, linewidth=1.4, linestyle=(0, (6, 2, 1, 2)), zorder=2)
        where, arrow = (0.005, limit_mib), ""
    else:
        where, arrow = (0.005, plot.get_ylim()[1]), "↑ "
    plot.annotate(
        arrow + label,
        where,
        xycoords=plot.get_yaxis_transform(),
        xytext=(2, 3 if near else -4),
        textcoords="offset points",
        va="bottom" if near else "top",
        color=theme.limit,
        fontsize=9,
        bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 1.0, "alpha": 0.6},
        zorder=7,
    )


def _title(record: TrialRecord, trials: int) -> list[tuple[str, bool]]:
    """Lines, and whether each belongs to the name of the case (or else to what is said below it)."""
    device = device_text(
        {
            "device_kind": record.device_kind,
            "device_product_type": record.device_product_type,
            "device_settings": record.device_settings,
        }
    )
    mark = "VIRTUAL: not an iPhone's figures · " if record.device_kind == "virtual" else ""
    case = case_text(drawable(record.case), gpu_emulated=record.backend_effective == EMULATED_GPU)
    shown = f"trial {record.trial_id}" + (f" (bold) of {trials}" if trials > 1 else "")
    below = drawable(f"{mark}{device} · iOS {record.device_os_version} · {shown}")
    return [
        *((line, True) for line in textwrap.wrap(case, TITLE_CHARACTERS)),
        *((line, False) for line in textwrap.wrap(below, TITLE_CHARACTERS + 25)),
    ]


def _draw_legend(figure: Figure, trial: Trial, trials: int, theme: Theme) -> None:
    app = trial.readings[trial.readings["source"] == Source.APP.value]
    handles = []
    if app["footprint_bytes"].notna().any():
        handles.append(Line2D([], [], color=theme.footprint, linewidth=2, label="footprint"))
    if app["resident_bytes"].notna().any():
        handles.append(Line2D([], [], color=theme.resident, linewidth=2, dashes=(5, 2), label="resident"))
    if (trial.readings["source"] == Source.HOST.value).any():
        handles.append(
            Line2D(
                [], [], color=theme.host, linestyle="", marker="o", markersize=4, label="footprint, seen by the host"
            )
        )
    if trials > 1:
        handles.append(Line2D([], [], color=theme.muted, linewidth=0.8, label="other trials"))
    figure.legend(handles=handles, loc="lower left", ncols=len(handles), fontsize=9, bbox_to_anchor=(0.06, 0.0))

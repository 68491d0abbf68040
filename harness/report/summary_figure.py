"""All cases side by side: peak footprint against the limit, and load time. One figure for one kind of phone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure

from harness.core.outcome import Outcome, ends_text
from harness.core.units import MIB
from harness.report.figures_style import Theme, width_in
from harness.report.timeline_parts import FAR_LIMIT
from harness.report.words import case_text, device_text, drawable, duration_text, mib_text, outcomes_text, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN = 10.0
LABEL_IN = 2.7
LABEL_CHARACTERS = 34
PANEL_IN = (4.1, 2.6)
BETWEEN_IN = 0.3
LINE_IN = 0.17


@dataclass(frozen=True)
class _Bar:
    """What one row of a panel shows, in the panel's unit; None: no bar."""

    median: float | None
    low: float | None
    high: float | None
    text: str
    failed: bool
    tick: float | None = None


def summary_figure(summary: pd.DataFrame, theme: Theme) -> Figure:
    """Draws within `style(theme)` the rows of `summarize` that belong to one kind of phone."""
    rows = rows_of(summary)
    devices = {drawable(device_text(row)) for row in rows}
    labels = [_label(row, with_device=len(devices) > 1) for row in rows]
    heights = [max(2, len(label)) * LINE_IN + 0.16 for label in labels]
    head_in, foot_in, body_in = 0.95, 0.6, sum(heights)
    height = head_in + body_in + foot_in
    figure = Figure(figsize=(WIDTH_IN, height))
    centers = [sum(heights[:index]) + heights[index] / 2 for index in range(len(heights))]

    left = LABEL_IN
    for title, unit, bars, width, color in (
        ("Peak footprint", "MiB", [_footprint(row) for row in rows], PANEL_IN[0], theme.footprint),
        ("Load time", "s", [_load(row) for row in rows], PANEL_IN[1], theme.resident),
    ):
        axes = figure.add_axes((left / WIDTH_IN, foot_in / height, width / WIDTH_IN, body_in / height))
        left += width + BETWEEN_IN
        axes.set_ylim(body_in, 0)
        _draw_panel(figure, axes, bars, centers, width, color, theme)
        axes.set_xlabel(unit)
        axes.set_title(title, loc="left", fontsize=10, color=theme.text)
    for label, center in zip(labels, centers, strict=True):
        figure.text(
            (LABEL_IN - 0.12) / WIDTH_IN,
            (foot_in + body_in - center) / height,
            "\n".join(label),
            ha="right",
            va="center",
            fontsize=9,
        )
    virtual = any(row["device_kind"] == "virtual" for row in rows)
    headline = "Load results: VIRTUAL phone, not an iPhone's figures" if virtual else "Load results"
    figure.text(0.12 / WIDTH_IN, 1 - 0.2 / height, headline, fontsize=12, fontweight="bold", va="center")
    told = "medians of the trials that loaded; whiskers: smallest and largest; | footprint limit"
    below = f"{devices.pop()} · {told}" if len(devices) == 1 else told
    for number, line in enumerate(textwrap.wrap(below, 115)[:2]):
        y = 1 - (0.42 + 0.17 * number) / height
        figure.text(0.12 / WIDTH_IN, y, line, fontsize=9, color=theme.muted, va="center")
    return figure


def _label(row: Mapping[str, Any], *, with_device: bool) -> list[str]:
    case = case_text(drawable(row["case"]), gpu_emulated=row["gpu_emulated"])
    lines = _wrapped(case) or ["?"]
    return [*lines, *textwrap.wrap(drawable(device_text(row)), LABEL_CHARACTERS)] if with_device else lines


def _wrapped(case: str) -> list[str]:
    """Lines that end, where they can, between the parts of a case's name."""
    lines: list[str] = []
    for part in case.replace("/", "/\n").split("\n"):
        if lines and len(lines[-1]) + len(part) <= LABEL_CHARACTERS:
            lines[-1] += part
        else:
            lines += textwrap.wrap(part, LABEL_CHARACTERS)
    return lines


def _wall(row: Mapping[str, Any]) -> str:
    """What the app was let map, where an allocation failed: the footprint's limit says nothing about that."""
    limit = row["allocation_limit_bytes_median"]
    return f"; may map {mib_text(limit)}" if Outcome.BAD_ALLOC.value in row["outcomes"] and not pd.isna(limit) else ""


def _others(row: Mapping[str, Any]) -> str:
    """The outcomes other than `loaded`, where some trials loaded."""
    rest = {name: count for name, count in row["outcomes"].items() if name != Outcome.LOADED.value}
    return f"; {ends_text(rest.items())} of {row['trials']}" if rest else ""


def _footprint(row: Mapping[str, Any]) -> _Bar:
    limit = row["footprint_limit_bytes_median"]
    tick = None if pd.isna(limit) else limit / MIB
    of_limit = "" if tick is None else f" of {mib_text(limit)}"
    if Outcome.LOADED.value not in row["outcomes"]:
        peak = row["failed_peak_footprint_bytes"]
        at = "" if pd.isna(peak) else f" at {mib_text(peak)}"
        told = outcomes_text(row["outcomes"]) + at + (of_limit if at else "") + _wall(row)
        return _Bar(None, None, None, told, True, tick)
    median = row["peak_footprint_bytes_median"]
    if pd.isna(median):
        return _Bar(None, None, None, "loaded; footprint not known" + _others(row), False, tick)
    low, high = row["peak_footprint_bytes_min"] / MIB, row["peak_footprint_bytes_max"] / MIB
    return _Bar(median / MIB, low, high, mib_text(median) + of_limit + _others(row), False, tick)


def _load(row: Mapping[str, Any]) -> _Bar:
    median = row["load_ns_median"]
    if pd.isna(median):
        loaded = Outcome.LOADED.value in row["outcomes"]
        return _Bar(None, None, None, "not known" if loaded else "did not load", not loaded)
    return _Bar(median / 1e9, row["load_ns_min"] / 1e9, row["load_ns_max"] / 1e9, duration_text(median), False)


def _draw_panel(
    figure: Figure, axes: Axes, bars: list[_Bar], centers: list[float], width: float, color: str, theme: Theme
) -> None:
    largest = max((bar.high for bar in bars if bar.high is not None), default=0.0)
    ticks = [bar.tick for bar in bars if bar.tick is not None]
    near = FAR_LIMIT * largest if largest else max(ticks, default=1.0)
    texts = []
    for bar, center in zip(bars, centers, strict=True):
        end = 0.0
        if bar.median is not None and bar.low is not None and bar.high is not None:
            axes.barh(center, bar.median, height=0.22, color=color, zorder=2)
            if bar.high > bar.low:
                axes.plot([bar.low, bar.high], [center, center], color=theme.text, linewidth=1.2, zorder=3)
                for edge in (bar.low, bar.high):
                    axes.plot([edge] * 2, [center - 0.06, center + 0.06], color=theme.text, linewidth=1.2, zorder=3)
            end = bar.high
        if bar.tick is not None and bar.tick <= near and bar.median is not None:
            axes.plot([bar.tick] * 2, [center - 0.16, center + 0.16], color=theme.limit, linewidth=2.2, zorder=4)
            end = max(end, bar.tick)
        text = axes.text(
            0,
            center,
            "\n".join(textwrap.wrap(drawable(bar.text), 44)),
            va="center",
            fontsize=8.5,
            color=theme.death if bar.failed else theme.text,
            fontweight="bold" if bar.failed else "normal",
            bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 0.6},
            zorder=5,
        )
        texts.append((text, end))
    # the scale at which the longest `bar + text` just fits; a bar keeps a fifth of the panel
    scale = 0.0
    for text, end in texts:
        room = max(width - width_in(figure, text) - 0.2, width / 5)
        scale = max(scale, end / room)
    scale = scale or (1 / width)
    axes.set_xlim(0, scale * width)
    for text, end in texts:
        text.set_x(end + 0.08 * scale)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5)
    if not any(bar.median is not None for bar in bars):
        axes.set_xticks([])
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)

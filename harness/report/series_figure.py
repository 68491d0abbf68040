"""A metric over all nights: medians with their spread, levels and where they changed, segments, and nights without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.report.series_frame import Frame, track_looks
from harness.report.series_picture import HEIGHT, LEFT, Level, NightScale, SeriesPicture, Track, ValueScale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.report.figures_style import Theme

JOINED_DAYS = 4
"""Nights further apart are not joined by a line, even if nothing ran between them: a long weekend is no gap."""


def series_figure(picture: SeriesPicture, theme: Theme) -> Frame:
    """Draws within `style(theme)`."""
    scale, values = picture.scale, picture.values
    frame = Frame(scale, HEIGHT, picture.marks, theme, picture.lane_names)
    for band in picture.bands:
        low, high = values.y([band.low, band.high])
        left, right = scale.x(band.first - 0.5), scale.x(band.last + 0.5)
        frame.boxes(np.array([[left, low]]), np.array([[right, high]]), theme.bands[1])
    heights = values.y([tick * values.per_unit for tick in values.ticks])
    starts, ends = (np.column_stack([np.full(len(heights), x), heights]) for x in (LEFT, scale.right))
    frame.strokes(starts, ends, edgecolor=theme.grid, linewidth=0.7)
    for y, words in zip(heights, values.tick_texts, strict=True):
        frame.text(scale.right + 6, float(y), words, color=theme.text)
    frame.draw_marks()
    days = {day: number for number, day in enumerate(sorted(set(picture.days)))}
    for track in picture.tracks:
        _draw_track(frame, track, values, days)
    frame.line([_level_line(level, scale, values) for level in picture.levels], edgecolor=theme.text, linewidth=1.2)
    frame.draw_gaps(picture.unmeasured, picture.absent)
    frame.draw_frame(values.headline)
    frame.draw_key()
    return frame


def _draw_track(frame: Frame, track: Track, values: ValueScale, days: Mapping[int, int]) -> None:
    color, square = track_looks(track.lane, frame.theme)
    xs, ys = frame.scale.xs(track.days), values.y(track.values)
    low, high = values.y(track.lower), values.y(track.upper)
    slot = frame.scale.slot
    spread = ~np.isnan(low)
    frame.strokes(
        np.column_stack([xs, low])[spread],
        np.column_stack([xs, high])[spread],
        edgecolor=color,
        linewidth=round(min(max(0.35 * slot, 0.7), 3.0), 1),
        alpha=0.45,
    )
    places = np.column_stack([xs, ys])
    frame.line(list(_joined(track, places, days)), edgecolor=color, linewidth=0.8, alpha=0.7)
    has = ~np.isnan(ys)
    size = round(min(max(0.8 * slot, 2.0), 6.0), 1)
    frame.dots(places[has], size, color, square=square)
    hollow = has & np.array(track.short, dtype=bool)
    frame.dots(places[hollow], round(0.5 * size, 1), frame.theme.background, square=square)


def _joined(track: Track, places: NDArray[np.float64], days: Mapping[int, int]) -> Iterator[NDArray[np.float64]]:
    """Places of nights that follow each other; a night without a figure, or a long time without nights, parts them.

    `days`: the number of each night of the suite, in their order.
    """
    begin = 0
    for index, (before, after) in enumerate(pairwise(track.days), start=1):
        follows = days[after] == days[before] + 1 and after - before <= JOINED_DAYS
        if not follows or track.values[index] is None or track.values[index - 1] is None:
            yield places[begin:index]
            begin = index
    yield places[begin:]


def _level_line(level: Level, scale: NightScale, values: ValueScale) -> NDArray[np.float64]:
    y = float(values.y([level.value])[0])
    return np.array([[scale.x(level.first - 0.5), y], [scale.x(level.last + 0.5), y]])

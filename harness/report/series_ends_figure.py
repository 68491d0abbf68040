"""How a case's trials end, over all nights: a strip for each outcome, as high each night as its share of the trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.core.outcome import Family, Outcome
from harness.report.outcome_words import known_outcome
from harness.report.series_frame import SMALL_PT, Frame
from harness.report.series_picture import LEFT, STRIP, EndsPicture, Strip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.report.figures_style import Theme

_FULL = 22.0
"""Height of a strip on a night all of whose trials ended so."""


def ends_figure(picture: EndsPicture, theme: Theme) -> Frame:
    """Draws within `style(theme)`."""
    scale = picture.scale
    frame = Frame(scale, picture.height, picture.marks, theme)
    bases = [picture.height - STRIP * (number + 1) + 4 for number in range(len(picture.strips))]
    for base in bases:
        frame.line([np.array([[LEFT, base], [scale.right, base]])], edgecolor=theme.grid, linewidth=0.7)
    frame.draw_marks()
    for strip, base in zip(picture.strips, bases, strict=True):
        starts = scale.xs(strip.days) - scale.slot / 2
        # a hair of room between nights, where there is room
        widths = scale.slot - (0.6 if scale.slot > 4 else 0.0)
        left = starts + np.array(strip.low) * widths
        right = starts + np.array(strip.high) * widths
        tops = base + np.maximum(np.array(strip.share) * _FULL, 1.5)
        frame.boxes(
            np.column_stack([left, np.full(len(left), base)]), np.column_stack([right, tops]), _color(strip, theme)
        )
        frame.text(scale.right + 6, base + _FULL / 2, strip.outcome, color=theme.text, size=SMALL_PT)
    frame.draw_gaps((), picture.absent)
    frame.draw_frame("a strip for each end; its height is the share of the night's trials")
    return frame


def _color(strip: Strip, theme: Theme) -> str:
    """Beside the name at the strip's end, never instead of it."""
    if strip.outcome == Outcome.LOADED.value:
        return theme.host
    if strip.outcome == Outcome.FELL_BACK.value:
        return theme.resident
    outcome = known_outcome(strip.outcome)
    return theme.death if outcome is not None and outcome.family is Family.MODEL else theme.muted


def strip_order(outcomes: Sequence[str]) -> list[str]:
    """What loads first, then what is about the model, then the rest, as the table of outcomes has them."""
    known = [outcome.value for outcome in Outcome]
    return sorted(set(outcomes), key=lambda one: (known.index(one) if one in known else len(known), one))

"""What series are called on their pages, and what their figures mean. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.metrics import METRIC_BY_NAME, Polarity
from harness.report.metric_words import METRIC_WORDS, metric_heading

if TYPE_CHECKING:
    from harness.report.site.series_content import SeriesContent

_OF_LOADED = "Each night's figure is the median of its trials that loaded."


def explanation(metric: str) -> str:
    """What its figures mean, and which way is better."""
    meaning = METRIC_WORDS[metric].meaning
    if metric not in METRIC_BY_NAME:
        return f"{meaning}."
    better = "Lower" if METRIC_BY_NAME[metric].polarity is Polarity.LOWER_IS_BETTER else "Higher"
    return f"{meaning}. {better} is better. {_OF_LOADED}"


def device_words(content: SeriesContent) -> str:
    """`virtual iPhone17,1`."""
    return f"{'virtual' if content.virtual else 'physical'} {content.device}"


def heading(content: SeriesContent) -> str:
    """`Load time: tiny/litert_lm/cpu/cold on virtual iPhone17,1`."""
    return f"{metric_heading(content.metric)}: {content.case} on {device_words(content)}"

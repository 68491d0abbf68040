"""The metrics that are followed over time: columns of a record, each with its polarity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Polarity(StrEnum):
    """Which way is worse."""

    LOWER_IS_BETTER = "lower_is_better"
    HIGHER_IS_BETTER = "higher_is_better"


class Quantity(StrEnum):
    MEMORY = "memory"
    """Repeats to 1 %: a small shift is real."""
    TIME = "time"
    """Repeats as well as the phone's temperature and neighbours let it: judged by its own noise."""


@dataclass(frozen=True)
class Metric:
    name: str
    """Column of the record."""
    unit: str
    quantity: Quantity
    polarity: Polarity

    def is_worse(self, before: float, after: float) -> bool:
        """Whether `after` is on the wrong side of `before`."""
        return after > before if self.polarity is Polarity.LOWER_IS_BETTER else after < before


METRICS: tuple[Metric, ...] = (
    Metric("peak_footprint_bytes", "bytes", Quantity.MEMORY, Polarity.LOWER_IS_BETTER),
    Metric("peak_resident_bytes", "bytes", Quantity.MEMORY, Polarity.LOWER_IS_BETTER),
    Metric("leftover_footprint_bytes", "bytes", Quantity.MEMORY, Polarity.LOWER_IS_BETTER),
    Metric("load_ns", "ns", Quantity.TIME, Polarity.LOWER_IS_BETTER),
    Metric("ttft_ns", "ns", Quantity.TIME, Polarity.LOWER_IS_BETTER),
    Metric("prefill_tokens_per_s", "tokens/s", Quantity.TIME, Polarity.HIGHER_IS_BETTER),
    Metric("decode_tokens_per_s", "tokens/s", Quantity.TIME, Polarity.HIGHER_IS_BETTER),
)
DEFAULT_METRICS = ("peak_footprint_bytes", "load_ns", "ttft_ns", "decode_tokens_per_s")
"""What is asked of a load first: what a comparison judges (each further figure makes every other harder to tell from
chance), and what overviews show.
"""
METRIC_BY_NAME = {metric.name: metric for metric in METRICS}

"""What is followed over nights, in words: the one table of them for figures, pages and exports. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.analysis.series import OUTCOME


@dataclass(frozen=True)
class MetricWords:
    """What a metric is called, and what it means."""

    short: str
    """Over a column: `First token`."""
    long: str
    """In a sentence: `time to first token`."""
    meaning: str
    """A sentence without its full stop."""


METRIC_WORDS: Mapping[str, MetricWords] = {
    OUTCOME: MetricWords("Outcome", "how trials end", "What became of every trial that counts, night by night"),
    "peak_footprint_bytes": MetricWords(
        "Peak footprint", "peak footprint", "The most memory that the system charged the app with"
    ),
    "peak_resident_bytes": MetricWords(
        "Peak resident", "peak resident size", "The most memory of the app that was in RAM"
    ),
    "leftover_footprint_bytes": MetricWords(
        "Left after unload", "leftover footprint", "What the app kept after it had unloaded the model"
    ),
    "load_ns": MetricWords("Load", "load time", "From the beginning of the load until the engine was ready"),
    "ttft_ns": MetricWords("First token", "time to first token", "From the prompt to the first token"),
    "prefill_tokens_per_s": MetricWords("Prefill", "prefill rate", "How fast the prompt was worked on"),
    "decode_tokens_per_s": MetricWords("Decode", "decode rate", "How fast tokens came after the first"),
}


def metric_text(metric: str) -> str:
    """`load time`; one that is not in the table is called by its column."""
    return METRIC_WORDS[metric].long if metric in METRIC_WORDS else metric


def metric_heading(metric: str) -> str:
    """`Load time`."""
    words = metric_text(metric)
    return words[:1].upper() + words[1:]

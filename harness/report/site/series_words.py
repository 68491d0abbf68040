"""What series are called on their pages, and what their figures mean. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.series import OUTCOME
from harness.report.site.changes_words import metric_text

if TYPE_CHECKING:
    from harness.report.site.series_content import SeriesContent

_OF_LOADED = "Each night's figure is the median of its trials that loaded."
EXPLANATIONS = {
    OUTCOME: "What became of every trial that counts, night by night.",
    "peak_footprint_bytes": f"The most memory that the system charged the app with. Lower is better. {_OF_LOADED}",
    "peak_resident_bytes": f"The most memory of the app that was in RAM. Lower is better. {_OF_LOADED}",
    "leftover_footprint_bytes": f"What the app kept after it had unloaded the model. Lower is better. {_OF_LOADED}",
    "load_ns": f"From the beginning of the load until the engine was ready. Lower is better. {_OF_LOADED}",
    "ttft_ns": f"From the prompt to the first token. Lower is better. {_OF_LOADED}",
    "prefill_tokens_per_s": f"How fast the prompt was worked on. Higher is better. {_OF_LOADED}",
    "decode_tokens_per_s": f"How fast tokens came after the first. Higher is better. {_OF_LOADED}",
}


def metric_heading(metric: str) -> str:
    """`Load time`."""
    words = metric_text(metric)
    return words[:1].upper() + words[1:]


def device_words(content: SeriesContent) -> str:
    """`virtual iPhone17,1`."""
    return f"{'virtual' if content.virtual else 'physical'} {content.device}"


def heading(content: SeriesContent) -> str:
    """`Load time: tiny/litert_lm/cpu/cold on virtual iPhone17,1`."""
    return f"{metric_heading(content.metric)}: {content.case} on {device_words(content)}"

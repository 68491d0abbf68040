"""A trial's figures and readings as rows of text for its page. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.core.outcome import Family
from harness.core.record import TrialRecord
from harness.core.text import percent, printable
from harness.core.units import MIB
from harness.report.outcome_words import known_outcome
from harness.report.timeline_parts import NS_PER_S, SampledTrial
from harness.report.words import MISSING, bytes_text, duration_text, rate_text

MAX_ROWS = 400
"""Of the timeline's table."""
_COLUMNS = {
    "footprint_bytes": "Footprint, MiB",
    "resident_bytes": "Resident, MiB",
    "metal_bytes": "Metal, MiB",
    "available_bytes": "Available, MiB",
    "compressed_bytes": "Compressed, MiB",
    "thermal": "Thermal state",
}


def figures(record: TrialRecord) -> tuple[tuple[str, str], ...]:
    """Name and value; what was not measured is a dash."""
    limit, peak = record.footprint_limit_bytes, record.peak_footprint_bytes
    room = None if limit is None or peak is None else limit - peak
    predicted = bytes_text(record.predicted_peak_footprint_bytes)
    if record.prediction_error is not None:
        predicted += f" ({percent(record.prediction_error, sign=True)} off)"
    return (
        ("Load", duration_text(record.load_ns)),
        ("First token", duration_text(record.ttft_ns)),
        ("Prefill", f"{rate_text(record.prefill_tokens_per_s)}{_of_tokens(record.prefill_tokens)}"),
        ("Decode", f"{rate_text(record.decode_tokens_per_s)}{_of_tokens(record.decoded_tokens)}"),
        ("Tokens asked for", str(record.decode_tokens)),
        ("Peak footprint", bytes_text(peak)),
        ("Peak footprint, seen by the host", bytes_text(record.host_peak_footprint_bytes)),
        ("Footprint limit", bytes_text(limit)),
        ("Head-room", bytes_text(room)),
        ("Peak resident", bytes_text(record.peak_resident_bytes)),
        ("Peak resident, by the kernel", bytes_text(record.kernel_peak_resident_bytes)),
        ("Left after unload", bytes_text(record.leftover_footprint_bytes)),
        ("Most the app could allocate", bytes_text(record.allocation_limit_bytes)),
        ("Predicted peak footprint", predicted),
        ("Samples", MISSING if record.sample_count is None else f"{record.sample_count} at {record.sample_hz} Hz"),
        ("Longest time without a sample", duration_text(record.sample_gap_max_ns)),
        ("Battery before", _battery(record)),
        ("Thermal state before", printable(record.thermal_state_start or MISSING)),
    )


def _of_tokens(count: int | None) -> str:
    return "" if count is None else f" ({count} tokens)"


def _battery(record: TrialRecord) -> str:
    parts = [
        "" if record.battery_percent is None else f"{record.battery_percent} %",
        "" if record.battery_celsius is None else f"{record.battery_celsius:.1f} °C",
        {True: "charging", False: "not charging", None: ""}[record.battery_charging],
    ]
    return ", ".join(part for part in parts if part) or MISSING


def is_bad(record: TrialRecord) -> bool:
    """Not what was expected, or over the suite's limits."""
    return record.outcome != record.expected_outcome or bool(record.broken_limits)


def outcome_symbol(record: TrialRecord) -> str:
    """So that colour is not all that tells."""
    outcome = known_outcome(record.outcome)
    if outcome is None:
        return "?"
    if outcome.family is Family.MEASURED and is_bad(record):
        return "!"
    return {Family.MEASURED: "✓", Family.MODEL: "✗"}.get(outcome.family, MISSING)


def reading_rows(trial: SampledTrial) -> tuple[tuple[str, ...], list[tuple[str, ...]], int]:
    """Headings, rows and how many readings there are; of many, every so many-th, the largest and the last."""
    readings = trial.readings
    columns = [name for name in _COLUMNS if name in readings.columns]
    count = len(readings.t_ns)
    places: NDArray[np.int64] = np.unique(
        np.linspace(0, max(count - 1, 0), min(count, MAX_ROWS - 1)).round().astype(np.int64)
    )
    footprint = readings.floats("footprint_bytes")
    if count > MAX_ROWS and not np.isnan(footprint).all():
        places = np.union1d(places, [int(np.nanargmax(footprint))])
    seconds = (readings.t_ns[places] - trial.origin_ns) / NS_PER_S
    cells = [[f"{second:.3f}" for second in seconds.tolist()]]
    cells.append(["host" if host else "app" for host in readings.of_host[places].tolist()])
    for name in columns:
        values = readings.floats(name)[places]
        scale, digits = (1, 0) if name == "thermal" else (MIB, 2)
        # NaN is not equal to itself
        cells.append([f"{value:.{digits}f}" if value == value else MISSING for value in (values / scale).tolist()])
    headings = ("Seconds", "Seen by", *(_COLUMNS[name] for name in columns))
    return headings, list(zip(*cells, strict=True)), count

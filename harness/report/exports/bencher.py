"""Bencher Metric Format: https://bencher.dev/docs/reference/bencher-metric-format (schema: https://bencher.dev/bmf.json).

A benchmark is a case on a device class, a measure is a column of the record, in its unit; lower and upper value are the
quartiles of the trials.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.report.exports.newest import NewestRun, bounded, number

MAX_BENCHMARK_CHARS = 1024
"""Bencher's own bounds; our columns are shorter than its 64 characters of a measure."""


def bencher_json(runs: Sequence[NewestRun]) -> str:
    """The newest run of each case; a case without a figure (it died) is not in it."""
    told = {
        bounded(run.name, MAX_BENCHMARK_CHARS): {
            name: {
                "value": number(spread.median),
                "lower_value": number(spread.lower),
                "upper_value": number(spread.upper),
            }
            for name, spread in run.figures.items()
        }
        for run in runs
        if run.figures
    }
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

"""Files for github-action-benchmark (https://github.com/benchmark-action/github-action-benchmark#readme, custom tools).

One file knows one direction, `customSmallerIsBetter` or `customBiggerIsBetter`, so there are two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.analysis.metrics import METRIC_BY_NAME, Metric, Polarity
from harness.core.text import percent
from harness.report.exports.newest import NewestRun, Spread, bounded, number, series_name

FILES = {
    Polarity.LOWER_IS_BETTER: "smaller-is-better.json",
    Polarity.HIGHER_IS_BETTER: "bigger-is-better.json",
}
MAX_NAME_CHARS = 500


def github_benchmark_files(runs: Sequence[NewestRun]) -> dict[str, str]:
    """File name → JSON. A file without an entry is left out: the action takes an empty one for an error."""
    texts = {}
    for polarity, name in FILES.items():
        entries = [
            _entry(run, METRIC_BY_NAME[column], spread)
            for run in runs
            for column, spread in run.figures.items()
            if METRIC_BY_NAME[column].polarity is polarity
        ]
        if entries:
            texts[name] = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return texts


def _entry(run: NewestRun, metric: Metric, spread: Spread) -> dict[str, Any]:
    marks = f" ({', '.join(run.marks)})" if run.marks else ""
    told = {
        "trials": f"{spread.count}{marks}",
        "run": run.run_id,
        "build": run.build,
        "app": run.app_build,
        "engine": run.engine_version,
        "iOS": run.os_version,
    }
    entry = {
        "name": bounded(series_name(run.key, demo=run.demo, metric=metric.name), MAX_NAME_CHARS),
        "unit": metric.unit,
        "value": number(spread.median),
        "extra": "\n".join(f"{name}: {bounded(text, MAX_NAME_CHARS)}" for name, text in told.items() if text),
    }
    if spread.median:
        # half the distance of the quartiles; of one trial there is none, and 0 would look like certainty
        spread_share = (spread.upper - spread.lower) / 2 / spread.median
        entry |= {"range": f"± {percent(spread_share)}"} if spread.count > 1 else {}
    return entry

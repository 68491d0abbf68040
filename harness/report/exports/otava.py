"""CSV files and an otava.yaml for Apache Otava (https://otava.apache.org/docs/csv), the former Hunter.

Otava takes no empty cell, and knows no lines between things that cannot be compared. So each series is a file of its
own in which nights without a figure are not there, and each of its segments is a test of its own.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Collection, Iterator, Sequence

from harness.analysis.metrics import METRICS, Metric, Polarity
from harness.analysis.series import CaseHistory, CaseKey, Night, Segment
from harness.report.exports.newest import bounded, series_name
from harness.report.words import slug

CONFIG = "otava.yaml"
GROUP = "all"
"""Of all tests: `otava analyze all`."""
TIME = "time"
ATTRIBUTES = ("night", "build", "app_build", "app_commit", "engine_version", "device_os_version")
"""The night has to be one: Otava shows only attributes."""
MAX_CELL_CHARS = 120
MAX_NAME_CHARS = 300
_DIGEST_CHARS = 10


def otava_files(histories: Sequence[CaseHistory], demo: Collection[CaseKey] = ()) -> dict[str, str]:
    """File name → text: the configuration, and a CSV for each segment of each series that has a figure.

    `demo`: cases that were made by seed.
    """
    tests: dict[str, object] = {}
    files: dict[str, str] = {}
    for history in histories:
        for metric in METRICS:
            name = series_name(history.key, demo=history.key in demo, metric=metric.name)
            found = [(one, rows) for one in history.segments if (rows := list(_rows(one, metric)))]
            for number, (segment, rows) in enumerate(found, start=1):
                test = bounded(name if len(found) == 1 else f"{name} segment {number}", MAX_NAME_CHARS)
                digest = hashlib.sha256(f"{test}\n{segment.first}".encode(errors="replace")).hexdigest()[:_DIGEST_CHARS]
                file = f"{slug(test)}-{digest}.csv"
                files[file] = _csv(metric, rows)
                tests[test] = _test(file, metric)
    # JSON is YAML, and needs no library that writes it; but for its escapes: what it writes as a pair is two in YAML
    config = {"tests": tests, "test_groups": {GROUP: list(tests)}}
    return {CONFIG: json.dumps(config, indent=2, ensure_ascii=False) + "\n", **files}


def _test(file: str, metric: Metric) -> dict[str, object]:
    direction = 1 if metric.polarity is Polarity.HIGHER_IS_BETTER else -1
    return {
        "type": "csv",
        "file": file,
        "time_column": TIME,
        "attributes": list(ATTRIBUTES),
        "metrics": {metric.name: {"column": metric.name, "direction": direction, "scale": 1}},
        "csv_options": {"delimiter": ",", "quote_char": '"'},
    }


def _rows(segment: Segment, metric: Metric) -> Iterator[tuple[str, ...]]:
    engine = segment.identity[1]
    for night, value in zip(segment.nights, segment.values[metric.name], strict=True):
        if not math.isnan(value):
            cells = (str(night.night), *(_last(night, name) for name in ("build", "app_build", "app_commit")))
            told = (*cells, str(engine or ""), _last(night, "device_os_version"))
            # noon is when a night begins
            yield (f"{night.night}T12:00:00+00:00", repr(float(value)), *map(_cell, told))


def _csv(metric: Metric, rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((TIME, metric.name, *ATTRIBUTES))
    writer.writerows(rows)
    return text.getvalue()


def _last(night: Night, column: str) -> str:
    return (night.context.get(column) or ("",))[-1]


def _cell(text: str) -> str:
    return bounded(text, MAX_CELL_CHARS) if text else ""

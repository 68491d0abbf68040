"""A textfile for node_exporter's collector: valid as OpenMetrics 1.0 and in Prometheus' older text format.

Only gauges, and no timestamps: the collector refuses them, and the older format knows neither info nor units. Times are
in seconds, as Prometheus wants them. https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.analysis.metrics import METRICS
from harness.report.exports.newest import NewestRun, bounded, moment, number
from harness.report.metric_words import METRIC_WORDS

PREFIX = "iphone_load_"
MAX_LABEL_CHARS = 200
NS_PER_S = 1_000_000_000


def openmetrics_text(runs: Sequence[NewestRun]) -> str:
    """The newest run of each case, with a gauge for each figure; one that was not measured has no sample."""
    lines: list[str] = []
    for metric in METRICS:
        scale = NS_PER_S if metric.unit == "ns" else 1
        lines += _family(
            metric_name(metric.name),
            f"{METRIC_WORDS[metric.name].meaning}; median of the trials of the newest run.",
            [
                (_labels(run), number(run.figures[metric.name].median / scale))
                for run in runs
                if metric.name in run.figures
            ],
        )
    lines += _family(
        f"{PREFIX}footprint_limit_bytes",
        "Footprint at which the phone kills the app.",
        [(_labels(run), run.limit_bytes) for run in runs if run.limit_bytes is not None],
    )
    lines += _family(
        f"{PREFIX}trials",
        "Trials of the newest run, by how they ended.",
        [(_labels(run) | {"outcome": name}, count) for run in runs for name, count in run.outcomes.items()],
    )
    lines += _family(
        f"{PREFIX}as_expected",
        "1: all trials of the newest run ended as the suite expects, within its limits.",
        [(_labels(run), int(run.expected)) for run in runs],
    )
    lines += _family(
        f"{PREFIX}newest_trial_timestamp_seconds",
        "When the newest trial began, in Unix time.",
        [(_labels(run), begun.timestamp()) for run in runs if (begun := moment(run.started_at)) is not None],
    )
    lines += _family(
        # in one family of its own: a label that changes with each build would make a new series of every figure
        f"{PREFIX}tested",
        "Always 1; the labels say what was tested.",
        [(_labels(run) | _tested(run), 1) for run in runs],
    )
    return "\n".join([*lines, "# EOF"]) + "\n"


def metric_name(column: str) -> str:
    """The name under which a column is exposed: `load_ns` is `iphone_load_load_seconds`."""
    return PREFIX + column.replace("_ns", "_seconds").replace("_per_s", "_per_second")


def _labels(run: NewestRun) -> dict[str, str]:
    key = run.key
    labels = {
        "device_kind": key.device_kind,
        "device_class": key.device_product_type,
        "suite": key.suite,
        "case": key.case,
    }
    if run.demo:
        labels["demo"] = "true"
    if run.gpu_emulated:
        labels["gpu"] = "emulated"
    return labels


def _tested(run: NewestRun) -> dict[str, str]:
    told = {
        "build": run.build,
        "app_build": run.app_build,
        "engine_version": run.engine_version,
        "os_version": run.os_version,
        "harness_version": run.harness_version,
    }
    return {name: value for name, value in told.items() if value}


def _family(name: str, words: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{told}}} {value!r}"


def _escaped(text: str) -> str:
    return bounded(text, MAX_LABEL_CHARS).replace("\\", "\\\\").replace('"', '\\"')

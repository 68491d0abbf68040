"""Which formats of other tools there are, and what is written for each. Reads the store; writes where it is told to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError, UsageError
from harness.core.record import DEMO_ORIGIN, TrialState, is_demo
from harness.store.whole_file import write_whole

if TYPE_CHECKING:
    from harness.analysis.series import CaseKey
    from harness.analysis.verdict import Verdict
    from harness.core.record import TrialRecord
    from harness.store.database import ResultStore


class Tool(StrEnum):
    """A format of another tool; the other exports are `store.exchange`'s."""

    JUNIT = "junit"
    GITHUB_BENCHMARK = "github-benchmark"
    BENCHER = "bencher"
    PERFETTO = "perfetto"
    OPENMETRICS = "openmetrics"
    OTAVA = "otava"
    MARKDOWN = "markdown"


SUFFIXES = {".xml": Tool.JUNIT, ".pftrace": Tool.PERFETTO, ".prom": Tool.OPENMETRICS, ".md": Tool.MARKDOWN}
"""Those that say the format."""
SEVERAL = (Tool.GITHUB_BENCHMARK, Tool.OTAVA)
"""Of several files."""


class ExportError(HarnessError):
    """The export cannot be written, or there is nothing that could be in it."""


def one_file(tool: Tool, store: ResultStore, records: Sequence[TrialRecord]) -> bytes:
    """The file of a format that has one, of the given trials (done ones). PERFETTO takes one trial."""
    from harness.report.exports.newest import newest_runs

    if tool is Tool.JUNIT:
        from harness.report.exports.junit import junit_xml

        return junit_xml(records)
    if tool is Tool.PERFETTO:
        return _trace(store, records)
    runs = newest_runs(records)
    if tool is Tool.BENCHER:
        from harness.report.exports.bencher import bencher_json

        return bencher_json(runs).encode()
    if tool is Tool.OPENMETRICS:
        from harness.report.exports.openmetrics import openmetrics_text

        return openmetrics_text(runs).encode()
    if tool is Tool.MARKDOWN:
        from harness.report.exports.markdown import markdown_text

        demo = {run.key for run in runs if run.demo}
        return markdown_text(runs, _verdicts(store, {run.key for run in runs}), demo).encode()
    raise UsageError(f"--format {tool}: it is several files; name a folder, or the begin of their names")


def several_files(tool: Tool, store: ResultStore, records: Sequence[TrialRecord]) -> Mapping[str, str]:
    """File name → text. The nights of `otava` are those of the given trials."""
    from harness.report.exports.newest import key_of, newest_runs

    if tool is Tool.GITHUB_BENCHMARK:
        from harness.report.exports.github_benchmark import github_benchmark_files

        files = github_benchmark_files(newest_runs(records))
        if not files:
            raise ExportError("no chosen trial has a figure, and the action takes an empty file for an error")
        return files
    from harness.analysis.nightly import COLUMNS, histories
    from harness.report.exports.otava import otava_files

    ids = [record.trial_id for record in records]
    found = histories(store.columns(COLUMNS, trial_id=ids))
    return otava_files(found, {key_of(record) for record in records if is_demo(record.origin)})


def demo_cases(store: ResultStore) -> set[CaseKey]:
    """The cases that were made by seed."""
    from harness.analysis.nightly import KEY_COLUMNS
    from harness.analysis.series import CaseKey

    frame = store.columns((*KEY_COLUMNS, "origin"), state=TrialState.DONE.value)
    made = frame[frame["origin"].fillna("").str.startswith(DEMO_ORIGIN)]
    return {CaseKey(*row) for row in made[list(KEY_COLUMNS)].drop_duplicates().itertuples(index=False, name=None)}


def write_several(target: Path, files: Mapping[str, str]) -> list[Path]:
    """Into the folder `target`, or, where it is none, beside it with its name before theirs; returns the paths.

    `nightly` and `smaller-is-better.json` make `nightly-smaller-is-better.json`.
    """
    if target.is_dir():
        paths = {target / name: text for name, text in files.items()}
    else:
        paths = {target.with_name(f"{target.name}-{name}"): text for name, text in files.items()}
    for path, text in paths.items():
        write_export(path, text.encode())
    return list(paths)


def write_export(path: Path, data: bytes) -> None:
    """What was under the name is replaced once the new file is on disk. Raises ExportError."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror}") from error


def _trace(store: ResultStore, records: Sequence[TrialRecord]) -> bytes:
    from harness.report.exports.perfetto import perfetto_trace
    from harness.store.telemetry import read_arrays

    if len(records) != 1:
        raise UsageError("a trace is of one trial: say --trial ID, and no filter")
    record = records[0]
    path = store.telemetry_path(record.trial_id)
    if record.telemetry_file is None or not path.is_file():
        raise ExportError(f"trial {record.trial_id} has no telemetry here{_why_not(record)}")
    return perfetto_trace(record, read_arrays(path))


def _why_not(record: TrialRecord) -> str:
    if record.files_removed_at is not None:
        return f": it was removed at {record.files_removed_at}"
    return f": its record came from {record.origin[:80]}" if record.origin else ": it ended before a sample was taken"


def _verdicts(store: ResultStore, keys: Collection[CaseKey]) -> list[Verdict]:
    """As of the newest night, of all nights that are kept: a filter chooses cases, not the nights they are held to."""
    from harness.bench.nightly_verdicts import verdicts_of

    return [one for one in verdicts_of(store) if one.series.of_case in keys]

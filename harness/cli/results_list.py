"""`harness results list`: runs or trials, newest first."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson, ResultsText
from harness.cli.results_filters import Builds, Cases, Devices, Outcomes, Runs, Since, Suites, filters
from harness.core.text import MISSING
from harness.report.words import bytes_text, duration_text
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.database import ResultStore

DEFAULT_LIMIT = 20
TRIAL_COLUMNS = (
    "trial_id", "run_id", "suite", "case", "ordinal", "attempt", "cut_short", "arm", "state", "started_at",
    "device_kind", "device_product_type", "device_os_version", "device_udid", "build", "outcome", "expected_outcome",
    "load_ns", "ttft_ns", "decode_tokens_per_s", "peak_footprint_bytes", "origin",
)  # fmt: skip  # one name a line would hide that it is one list
RUN_HEADINGS = ("Run", "Suite", "Device", "Build", "Began", "Trials", "As expected", "Outcomes")
TRIAL_HEADINGS = ("Trial", "Case", "#", "Device", "Build", "Outcome", "Load", "Peak footprint")


class What(StrEnum):
    RUNS = "runs"
    TRIALS = "trials"


def list_results(
    what: Annotated[What, typer.Argument(help="runs, or trials one by one.")] = What.RUNS,
    results_text: ResultsText = DEFAULT_FOLDER,
    suite: Suites = None,
    case: Cases = None,
    device: Devices = None,
    outcome: Outcomes = None,
    build: Builds = None,
    run: Runs = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many, the newest; 0: all.")] = DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """List runs or trials, newest first."""
    from harness.store.database import ResultStore

    wanted = filters(suite, case, device, outcome, build, run, since)
    with ResultStore.open_existing(parse_results(results_text)) as store:
        frame = _runs(store, wanted) if what is What.RUNS else _trials(store, wanted, limit)
    total = frame.attrs.pop("total", len(frame))
    rows = rows_of(frame.iloc[::-1].head(limit) if limit else frame.iloc[::-1])
    if as_json:
        print_json(rows)
        return
    if what is What.RUNS:
        print_table(RUN_HEADINGS, map(_run_cells, rows), right=("Trials", "As expected"), whole=("Run",))
    else:
        print_table(TRIAL_HEADINGS, map(_trial_cells, rows), right=("#", "Load", "Peak footprint"), whole=("Trial",))
    if len(rows) < total:
        talk(f"{total - len(rows)} more {what.value}; --limit 0 lists all")


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with plain Python values, None where nothing is known."""
    columns = {name: [_plain(value) for value in frame[name]] for name in frame.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    import numpy as np
    import pandas as pd

    if value is pd.NA:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _runs(store: ResultStore, wanted: dict[str, Any]) -> pd.DataFrame:
    from harness.analysis.runs import TRIAL_COLUMNS, runs_of

    return runs_of(store.columns(TRIAL_COLUMNS, **wanted))


def _trials(store: ResultStore, wanted: dict[str, Any], limit: int) -> pd.DataFrame:
    """Only of those that are shown; ids sort by time."""
    ids = store.trial_ids(**wanted)
    frame = store.columns(TRIAL_COLUMNS, trial_id=ids[-limit:] if limit else ids)
    frame.attrs["total"] = len(ids)
    return frame


def _device(row: dict[str, Any]) -> str:
    if row["device_product_type"] is None:
        return "several"
    mark = "" if row["device_kind"] == "physical" else f" ({row['device_kind'] or 'several kinds'})"
    return f"{row['device_product_type']} iOS {row['device_os_version'] or MISSING}{mark}"


def _run_cells(row: dict[str, Any]) -> tuple[str, ...]:
    told = ", ".join(f"{count} {outcome}" for outcome, count in row["outcomes"].items())
    if row["running"]:
        told = ", ".join(filter(None, (told, f"{row['running']} running")))
    return (
        row["run_id"],
        row["suite"] or "several",
        _device(row),
        row["build"] or MISSING,
        row["began"],
        str(row["trials"]),
        str(row["as_expected"]),
        told or MISSING,
    )


def _trial_cells(row: dict[str, Any]) -> tuple[str, ...]:
    outcome = row["outcome"] or row["state"]
    if row["outcome"] is not None and row["outcome"] != row["expected_outcome"]:
        outcome += f", expected {row['expected_outcome']}"
    return (
        row["trial_id"],
        row["case"],
        f"{row['ordinal']}{row['arm'] or ''}",
        _device(row),
        row["build"] or MISSING,
        outcome,
        duration_text(row["load_ns"]),
        bytes_text(row["peak_footprint_bytes"]),
    )

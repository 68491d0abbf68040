"""`harness results show`: everything that is kept of a trial or of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import print_json, print_table
from harness.cli.explain import find_trial
from harness.cli.flags import AsJson, ResultsText
from harness.cli.results_list import rows_of
from harness.core.errors import UsageError
from harness.core.record import record_columns
from harness.core.text import MISSING, printable
from harness.core.units import format_bytes
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from harness.core.record import TrialRecord
    from harness.store.database import ResultStore

NOT_KNOWN = "not known"
# Columns in which nothing is something that is known.
_NONE_SAYS = {
    "arm": "none: a trial of a run, not of a comparison",
    "build": "none: the run was not given a name of its build",
    "files_removed_at": "none: they were not removed",
    "origin": "none: made in these results",
}
_RUN_LIST = ("trial_id", "case", "ordinal", "attempt", "outcome", "load_ns", "peak_footprint_bytes")


def show(
    word: Annotated[str, typer.Argument(metavar="ID", help="Of a trial or a run, or the begin of one; or last.")],
    results_text: ResultsText = DEFAULT_FOLDER,
    as_json: AsJson = False,
) -> None:
    """Show every column of a trial with its unit, or a run and its trials."""
    from harness.store.database import ResultStore

    with ResultStore.open_existing(parse_results(results_text)) as store:
        run_id = _run_of(store, word)
        if run_id is None:
            _show_trial(find_trial(store, word), as_json=as_json)
        else:
            _show_run(store, run_id, as_json=as_json)


def _run_of(store: ResultStore, word: str) -> str | None:
    """The run that `word` names; None: none, so that it is a trial's. A whole id outranks a begin."""
    if not word or store.trial_ids(trial_id=word):
        return None
    runs = sorted(set(store.columns(("run_id",))["run_id"]))
    found = [word] if word in runs else [one for one in runs if one.startswith(word)]
    if len(found) > 1:
        raise UsageError(f"{word!r} is the begin of {len(found)} runs, as {found[0]} and {found[1]}; give more of it")
    return found[0] if found else None


def _show_trial(record: TrialRecord, *, as_json: bool) -> None:
    from harness.store.exchange.records import record_to_plain

    if as_json:
        print_json(record_to_plain(record))
        return
    values = record_to_plain(record)
    rows = []
    for column in record_columns():
        unit = "" if column.metadata["unit"] == "JSON" else column.metadata["unit"]
        rows.append((column.name, unit, _text(column.name, values[column.name], unit)))
    print_table(("column", "unit", "value"), rows, whole=("column", "unit"))


def _text(name: str, value: Any, unit: str) -> str:
    if value is None:
        return _NONE_SAYS.get(name, NOT_KNOWN)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(json.dumps(item, ensure_ascii=False) for item in value) or "none"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if value == "":
        return "empty"
    size = f" ({format_bytes(value)})" if unit == "bytes" and isinstance(value, int) else ""
    return f"{value}{size}"


def _show_run(store: ResultStore, run_id: str, *, as_json: bool) -> None:
    from harness.analysis.runs import TRIAL_COLUMNS, runs_of

    (run,) = rows_of(runs_of(store.columns(TRIAL_COLUMNS, run_id=run_id)))
    trials = rows_of(store.columns(_RUN_LIST, run_id=run_id))
    if as_json:
        print_json({**run, "trials_of_run": trials})
        return
    told = {**run, "outcomes": ", ".join(f"{count} {outcome}" for outcome, count in run["outcomes"].items())}
    print_table(
        ("run", "value"),
        [(name.replace("_", " "), NOT_KNOWN if value is None else str(value)) for name, value in told.items()],
    )
    typer.echo()
    units = {column.name: column.metadata["unit"] for column in record_columns()}
    headings = [f"{name} ({units[name]})" if units[name] else name for name in _RUN_LIST]
    cells = [[MISSING if row[name] is None else printable(str(row[name])) for name in _RUN_LIST] for row in trials]
    print_table(headings, cells, right=headings[5:], whole=headings[:1])

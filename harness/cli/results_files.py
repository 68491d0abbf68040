"""`harness results export`, `import` and `to-pandas`: trials as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import print_json, talk
from harness.cli.flags import AsJson, ResultsText
from harness.cli.results_filters import Builds, Cases, Devices, Outcomes, Runs, Since, Suites, filters
from harness.core.errors import UsageError
from harness.core.record import TrialRecord, TrialState
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from harness.report.exports.tools import Tool

STDOUT = "-"
MAX_LISTED = 3
"""Files that are named; --json names all."""
NOTEBOOK = """\
from harness import results
trials = results.trials({folder!r})
print(trials.groupby("case")["peak_footprint_bytes"].median())
"""


def export(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help=".json, .jsonl, .csv, .parquet, .feather, .xml, .prom, .md, .pftrace; - is stdout. A folder, or the "
            "begin of names, for a format of several files.",
        ),
    ],
    results_text: ResultsText = DEFAULT_FOLDER,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Instead of the name's suffix; needed for -. For other tools: junit, github-benchmark, bencher, "
            "perfetto, openmetrics, otava, markdown.",
        ),
    ] = None,
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="ID", help="Only this one: an id, the begin of one, or last.")
    ] = None,
    suite: Suites = None,
    case: Cases = None,
    device: Devices = None,
    outcome: Outcomes = None,
    build: Builds = None,
    run: Runs = None,
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """Write trials that are done into a file: all that is kept but telemetry and artifacts, or what a tool reads."""
    from harness.report.exports.tools import SUFFIXES, Tool
    from harness.store.exchange.outgoing import Format, format_of, write_file, write_records

    if form is not None and form not in (*Format, *Tool):
        raise UsageError(f"--format: there is no {form[:40]!r}; there are: {', '.join((*Format, *Tool))}")
    if file == STDOUT and (form is None or as_json):
        raise UsageError("to stdout: say --format, and leave out --json: stdout is the export itself")
    suffix, suffixes = Path(file).suffix.lower(), (*(f".{one}" for one in Format), *SUFFIXES)
    if form is None and suffix not in suffixes:
        raise UsageError(
            f"{file}: the name does not say in which format; it ends with one of {', '.join(suffixes)}, or say --format"
        )
    tool = SUFFIXES.get(suffix) if form is None else Tool(form) if form in tuple(Tool) else None
    wanted = filters(suite, case, device, outcome, build, run, since)
    if trial is not None:
        wanted["trial_id"] = _trial_id(results_text, trial)
    if tool is not None:
        _export_to_tool(file, tool, results_text, wanted, as_json=as_json)
        return
    chosen = Format(form) if form is not None else format_of(Path(file))
    records = _done(results_text, wanted)
    if file == STDOUT:
        write_records(sys.stdout.buffer, records, chosen)
        sys.stdout.buffer.flush()
        return
    write_file(Path(file), records, chosen)
    if as_json:
        print_json({"path": file, "format": chosen.value, "trials": len(records)})
    else:
        typer.echo(f"{file}: {_count(len(records))}")


def _export_to_tool(file: str, tool: Tool, results_text: str, wanted: dict[str, object], *, as_json: bool) -> None:
    from harness.report.exports.tools import SEVERAL, one_file, several_files, write_export, write_several
    from harness.store.database import ResultStore

    if tool in SEVERAL and file == STDOUT:
        raise UsageError(f"--format {tool} is several files; name a folder, or the begin of their names")
    records = _done(results_text, wanted)
    with ResultStore.open_existing(parse_results(results_text)) as store:
        if tool in SEVERAL:
            paths = [str(path) for path in write_several(Path(file), several_files(tool, store, records))]
        else:
            data = one_file(tool, store, records)
            if file == STDOUT:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
                return
            write_export(Path(file), data)
            paths = [file]
    if as_json:
        print_json({"paths": paths, "format": tool.value, "trials": len(records)})
    else:
        for path in paths[:MAX_LISTED]:
            typer.echo(f"{path}: of {_count(len(records))}")
        if len(paths) > MAX_LISTED:
            typer.echo(f"and {len(paths) - MAX_LISTED} more files beside it")


def _trial_id(results_text: str, word: str) -> str:
    from harness.cli.explain import find_trial
    from harness.store.database import ResultStore

    with ResultStore.open_existing(parse_results(results_text)) as store:
        return find_trial(store, word).trial_id


def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Exports (.json, .jsonl, .csv), or a CSV.")],
    results_text: ResultsText = DEFAULT_FOLDER,
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="For every row of another harness's CSV; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take trials from files, each checked and taken wholly or not at all; what is here already is skipped."""
    from harness.store.database import ResultStore
    from harness.store.exchange.incoming import read_file, take_in

    given = _constants(constants or [])
    results = parse_results(results_text)
    # all files are read before anything is written: the commonest mistake is in the last of them
    incoming = [read_file(path, given) for path in files]
    told = []
    with ResultStore.open(results) as store:
        for path, one in zip(files, incoming, strict=True):
            taken = take_in(store, one)
            told.append({"file": str(path), "added": len(taken.added), "skipped": len(taken.skipped)})
            if not as_json:
                here = f", {len(taken.skipped)} were here already" if taken.skipped else ""
                typer.echo(f"{path}: {_count(len(taken.added))} added{here}")
    if as_json:
        print_json({"results": results.text, "files": told})


def to_pandas(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help=".parquet or .feather; without one: how a notebook reads.")
    ] = None,
    results_text: ResultsText = DEFAULT_FOLDER,
    suite: Suites = None,
    case: Cases = None,
    device: Devices = None,
    outcome: Outcomes = None,
    build: Builds = None,
    run: Runs = None,
    since: Since = None,
) -> None:
    """Write the trials as a file that pandas reads with their types, and print the lines that read it."""
    from harness.store.exchange.outgoing import COLUMNAR, format_of, write_file

    wanted = filters(suite, case, device, outcome, build, run, since)
    if file is None:
        if wanted:
            raise UsageError("a filter chooses what is written; give a FILE, too")
        results = parse_results(results_text)
        if results.url is not None:
            talk("lines of a notebook are seen by others: a password comes from PGPASSWORD or ~/.pgpass")
        typer.echo(NOTEBOOK.format(folder=results_text if results.url is None else results.shareable), nl=False)
        return
    if file.suffix.lower() in (".pkl", ".pickle"):
        raise UsageError(
            f"{file}: a pickle runs whatever code is in it, and only the pandas that wrote it reads it for sure; name "
            "it .parquet or .feather"
        )
    form = format_of(file, COLUMNAR)
    records = _done(results_text, wanted)
    write_file(file, records, form)
    talk(f"{file}: {_count(len(records))}")
    typer.echo("import pandas as pd")
    typer.echo(f'trials = pd.read_{form.value}({str(file)!r}, dtype_backend="numpy_nullable")')


def _done(results_text: str, wanted: dict[str, object]) -> list[TrialRecord]:
    """The trials that are done; says how many are not."""
    from harness.store.database import ResultStore

    with ResultStore.open_existing(parse_results(results_text)) as store:
        records = store.trials(**wanted)
    done = [record for record in records if record.state == TrialState.DONE.value]
    if len(done) < len(records):
        talk(f"{_count(len(records) - len(done))} still running left out")
    return done


def _constants(texts: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name in given:
            raise UsageError(f"--set {text[:80]!r}: write COLUMN=VALUE, each column once")
        given[name] = value
    return given


def _count(number: int) -> str:
    return f"{number} trial" if number == 1 else f"{number} trials"

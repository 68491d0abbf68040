"""`harness report`: draw the site of all results, or the page of one run."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import talk
from harness.cli.flags import ResultsText, night_of
from harness.core.errors import UsageError
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from datetime import date

    from harness.store.address import Results, ResultsAddress

MAX_LISTED = 5
"""Runs that an error names."""


def report(
    results_text: ResultsText = DEFAULT_FOLDER,
    target: Annotated[
        Path | None,
        typer.Option("--target", metavar="DIR", help="Where the site goes; default: report/ of the results."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="NIGHT", help="As that night would have told it.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Only the page of this run, with all its figures.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that draw.")] = 2,
    serve: Annotated[
        bool, typer.Option("--serve", help="To this machine: the site, every trial's page, what is in progress.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="With --serve; 0 or none: a free one.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", hidden=True)] = None,
) -> None:
    """Draw the site of all results and print the path of its first page; or serve it until Ctrl-C."""
    results = parse_results(results_text)
    results.must_exist()
    if serve:
        if target is not None or as_of is not None or run_id is not None:
            raise UsageError("--serve serves all results as of now: without --target, --as-of and --run")
        from harness.cli.report_serve import serve as serve_until_interrupted

        serve_until_interrupted(results, port=port or 0, host=host)
        return
    if port is not None or host is not None:
        raise UsageError("--port and --host go with --serve")
    night = night_of(as_of, "--as-of")
    _must_be_a_place(target, results)
    if run_id is not None:
        if night is not None:
            raise UsageError("--as-of is about nights, and --run about one run: give one of them")
        _draw_run(results, run_id, target)
        return
    _draw_site(results, target, night, jobs)


def _draw_site(results: Results, target: Path | None, night: date | None, jobs: int) -> None:
    from harness.report.site.build import build_site

    files = build_site(results, target, as_of=night, processes=jobs)
    talk(f"pages: {len(files.drawn)} drawn, {len(files.kept)} kept, {len(files.removed)} removed")
    typer.echo(files.index)


def _draw_run(results: ResultsAddress, run_id: str, target: Path | None) -> None:
    from harness.report.run_pages import draw_run
    from harness.store.database import ResultStore

    with ResultStore.open_existing(results) as store:
        known = list(dict.fromkeys(map(str, store.columns(("run_id",))["run_id"])))
    if run_id not in known:
        near = difflib.get_close_matches(run_id, known, n=MAX_LISTED, cutoff=0.3) or known[-MAX_LISTED:]
        raise UsageError(
            f"--run: {results.text} has no run {run_id!r}; the nearest: "
            f"{', '.join(near) or 'none, there are no trials'}; `harness results list` has all of them"
        )
    typer.echo(draw_run(results, run_id, target))


def _must_be_a_place(target: Path | None, results: ResultsAddress) -> None:
    """Raises UsageError where a site would lie among other things."""
    if target is None:
        return
    if target.exists() and not target.is_dir():
        raise UsageError(f"--target: {target} is a file; name a folder, which may be a new one")
    if target.resolve() == results.folder.resolve():
        raise UsageError(
            f"--target: {target} holds the results; name a folder of the site's own, as in {target}/report"
        )

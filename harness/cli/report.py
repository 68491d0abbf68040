"""`harness report`: pictures and tables from the results."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.flags import ResultsText
from harness.store.address import DEFAULT_FOLDER, parse_results


def report(
    results_text: ResultsText = DEFAULT_FOLDER,
    run_id: Annotated[str | None, typer.Option("--run", help="Only this run; default: the newest.")] = None,
) -> None:
    """Draw the report of a run into results/report/ and print the path of its page."""
    from harness.report.build import build_report

    results = parse_results(results_text)
    results.must_exist()
    typer.echo(build_report(results, run_id=run_id).index)

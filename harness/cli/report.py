"""`harness report`: pictures and tables from the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.core.errors import UsageError


def report(
    results: Annotated[Path, typer.Option("--results", help="The results folder.")] = Path("results"),
    run_id: Annotated[str | None, typer.Option("--run", help="Only this run; default: the newest.")] = None,
) -> None:
    """Draw the report of a run into results/report/ and print the path of its page."""
    from harness.report.build import build_report

    if not (results / "runs.db").is_file():
        raise UsageError(f"{results} holds no results (no runs.db); run a suite first: harness run SUITE.toml")
    typer.echo(build_report(results, run_id=run_id).index)

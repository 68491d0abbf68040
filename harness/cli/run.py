"""`harness run`: a suite on a phone, from the file to the table."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import exits
from harness.cli.console import RunDisplay, print_json, print_table, talk
from harness.core.outcome import Family, Outcome
from harness.core.phone import parse_device_word

if TYPE_CHECKING:
    from harness.bench.conductor import RunResult


def run(
    suite_file: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="What to load, how, what to expect.")],
    device: Annotated[str, typer.Option("--device", help="A UDID, virtual, or virtual:<profile>[,key=value…].")],
    results: Annotated[Path, typer.Option("--results", help="Where records and pictures go.")] = Path("results"),
    runner: Annotated[str, typer.Option("--runner", help="auto, python, swift, or the path of an .ipa.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Records for machines instead of the table.")] = False,
) -> None:
    """Run a suite on a phone, keep every record, print a table, and draw the report."""
    word = parse_device_word(device)
    from harness.bench.conductor import run_suite
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import load_suite
    from harness.report.build import build_report

    suite = load_suite(suite_file)
    options = RunOptions(runner=runner)
    try:
        with RunDisplay() as display:
            result = asyncio.run(run_suite(suite, word, results, display, options))
            display.step("draw the report", 0, 1)
            page = build_report(results, run_id=result.run_id).index
            display.step("draw the report", 1, 1)
    except KeyboardInterrupt:
        talk(f"interrupted; the app on the phone has been ended, what was recorded is kept in {results}")
        raise typer.Exit(exits.INTERRUPTED) from None
    if as_json:
        print_json({"run_id": result.run_id, "report": str(page), "trials": [asdict(r) for r in result.records]})
    else:
        _print_summary(results, result)
        typer.echo(f"report: {page}")
    raise typer.Exit(_exit_code(result))


def _print_summary(results: Path, result: RunResult) -> None:
    from harness.report.table import HEADINGS, summary_table
    from harness.store.database import ResultStore

    with ResultStore.open(results) as store:
        rows = [row.cells for row in summary_table(store.frame(run_id=result.run_id))]
    typer.echo(f"{result.phone.label}  udid {result.phone.udid}  run {result.run_id}")
    print_table(HEADINGS, rows, right=HEADINGS[5:])


def _exit_code(result: RunResult) -> int:
    """0 as expected, 1 a model did not do as expected, 3 the device was in the way, 4 we were."""
    families = {Outcome(record.outcome).family for record in result.unexpected if record.outcome is not None}
    codes = {Family.HOST: exits.HARNESS, Family.DEVICE: exits.DEVICE}
    code = max((codes.get(family, exits.MODEL_FAILED) for family in families), default=0)
    if code:
        talk(f"{len(result.unexpected)} of {len(result.records)} trials did not end as expected")
    return code

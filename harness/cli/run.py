"""`harness run`: a suite on a phone, from the file to the table."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.bench.compare_turns import DEFAULT_CONFIRMED
from harness.bench.run_options import LEASE_WAIT_S, PreflightMode
from harness.cli import exits
from harness.cli.confirm import ConfirmLimit, as_data, confirm_on, print_confirmed
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import LeaseWait, ResultsText, Runners, TransportName
from harness.cli.run_display import RunDisplay
from harness.core.errors import DeviceError
from harness.core.judgement import ConfirmationResult
from harness.core.outcome import Outcome
from harness.core.phone import FORMS, DeviceWord, parse_device_word
from harness.core.text import printable
from harness.store.address import DEFAULT_FOLDER, Results, ResultsAddress, parse_results

# Trials that a line names.
MAX_NAMED = 5

if TYPE_CHECKING:
    from harness.bench.conductor import RunResult
    from harness.bench.confirm import Confirmed
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import Suite
    from harness.report.run_pages import Drawn


def run(
    suite_file: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="What to load, how, what to expect.")],
    device: Annotated[
        list[str], typer.Option("--device", metavar="WORD", help=f"Repeatable, one after another: {FORMS}.")
    ],
    results_text: ResultsText = DEFAULT_FOLDER,
    runner: Runners = None,
    transport: TransportName = "auto",
    lease_wait: LeaseWait = LEASE_WAIT_S,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="NAME", help="Never remove this model (file name, digest's begin) from the phone."
        ),
    ] = None,
    preflight: Annotated[
        PreflightMode | None,
        typer.Option(
            "--preflight",
            help="Instead of the suite's: keep predictions (record), skip what will not load (stop), off.",
        ),
    ] = None,
    build: Annotated[
        str | None, typer.Option("--build", metavar="NAME", help="Of what is under test: a nightly's number, a commit.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest run of this suite on that phone that was cut short.")
    ] = False,
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm", help="Then re-run the two builds of each new regression in turns; exit 1 when it is real."
        ),
    ] = False,
    confirm_limit: ConfirmLimit = DEFAULT_CONFIRMED,
    as_json: Annotated[bool, typer.Option("--json", help="Records for machines instead of the table.")] = False,
) -> None:
    """Run a suite on a phone, or on one after another, keep every record, print a table, and draw the report."""
    words = [parse_device_word(text) for text in device]
    results = parse_results(results_text)
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import load_suite
    from harness.device.registry import expand

    suite = load_suite(suite_file)
    options = RunOptions(
        runner=tuple(runner or ("auto",)),
        transport=transport,
        keep=tuple(keep or ()),
        preflight=preflight,
        lease_wait_s=lease_wait,
        build=build,
    )
    code, told = 0, []
    try:
        phones = asyncio.run(expand(words))
        for phone in phones:
            try:
                result, drawn = _run_on(suite, phone, results, options, resume=resume)
            except DeviceError as error:
                # the other phones have nothing to do with it
                if len(phones) == 1:
                    raise
                talk(f"error: --device={phone.text}: {error}")
                code = max(code, exits.DEVICE)
                continue
            told.append(_for_machines(result, drawn))
            if not as_json and drawn is not None:
                _print_summary(results, result)
                talk(f"this run alone: {drawn.run_page}")
                typer.echo(f"report: {drawn.index}")
            code = max(code, _exit_code(result))
            if confirm:
                confirmed = _confirm(phone, results, options, confirm_limit, as_json=as_json)
                told[-1]["confirmations"] = [as_data(one) for one in confirmed]
                if any(one.note.result is ConfirmationResult.CONFIRMED for one in confirmed):
                    code = max(code, exits.MODEL_FAILED)
    except KeyboardInterrupt:
        talk(
            f"interrupted; the app on the phone has been ended, what was recorded is kept in {results.text}; "
            "go on with the same command and --resume"
        )
        raise typer.Exit(exits.INTERRUPTED) from None
    if as_json:
        # by what was asked and not by what was there: who asks for several gets a list
        print_json(told[0] if words == phones and len(words) == 1 else told)
    raise typer.Exit(code)


def _run_on(
    suite: Suite, phone: DeviceWord, results: Results, options: RunOptions, *, resume: bool
) -> tuple[RunResult, Drawn | None]:
    """The suite on one phone, and the pages that tell of it; None where nothing was run that counts."""
    from harness.bench.conductor import run_suite
    from harness.report.run_pages import draw_after_run

    with RunDisplay() as display:
        result = asyncio.run(run_suite(suite, phone, results, display, options, resume=resume))
        if not result.counted:
            return result, None
        display.step("draw the report", 0, 1)
        drawn = draw_after_run(results, result.run_id)
        display.step("draw the report", 1, 1)
    return result, drawn


def _confirm(
    phone: DeviceWord, results: ResultsAddress, options: RunOptions, limit: int, *, as_json: bool
) -> list[Confirmed]:
    """The re-runs on the phone that the suite has just run on."""
    from harness.bench.confirm import ConfirmOptions

    told = confirm_on(phone, results, options, ConfirmOptions(limit=limit))
    if not as_json:
        print_confirmed(told)
    return told


def _print_summary(results: Results, result: RunResult) -> None:
    from harness.report.table import HEADINGS, summary_table
    from harness.store.database import ResultStore

    with ResultStore.open(results) as store:
        rows = [row.cells for row in summary_table(store.frame(run_id=result.run_id))]
    typer.echo(f"{printable(result.phone.label)}  udid {result.phone.udid}  run {result.run_id}")
    print_table(HEADINGS, rows, right=HEADINGS[5:])


def _for_machines(result: RunResult, drawn: Drawn | None) -> dict[str, object]:
    return {
        "run_id": result.run_id,
        "report": None if drawn is None else str(drawn.index),
        "run_page": None if drawn is None else str(drawn.run_page),
        "trials": [asdict(record) for record in result.records],
        "not_run": [{"trial": one.planned.name, "reason": one.reason} for one in result.not_run],
    }


def _exit_code(result: RunResult) -> int:
    """0 as expected, 1 a model did not do as expected or not all was run, 3 the device was in the way, 4 we were."""
    families = {Outcome(record.outcome).family for record in result.unexpected if record.outcome is not None}
    code = exits.of_families(families)
    if code:
        talk(f"{len(result.unexpected)} of {len(result.counted)} trials did not end as expected")
    if result.over_limits:
        talk(f"{len(result.over_limits)} of {len(result.counted)} trials broke a limit of the suite")
        code = max(code, exits.MODEL_FAILED)
    if result.not_run:
        _tell_not_run(result)
        code = max(code, exits.MODEL_FAILED)
    return code


def _tell_not_run(result: RunResult) -> None:
    total = len(result.records) + len(result.not_run)
    for reason, ones in groupby(result.not_run, key=lambda one: one.reason):
        names = [one.planned.name for one in ones]
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        talk(f"not run, {len(names)} of {total}: {', '.join(names[:MAX_NAMED])}{more}: {reason}")
    if any(one.by_budget for one in result.not_run):
        again = "the whole budget is there again, and it may be raised in the suite"
        talk(f"go on with the same command and --resume: {again}")
    if not all(one.by_budget for one in result.not_run):
        talk("to try what is not expected to load all the same: --preflight=record")

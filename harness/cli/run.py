"""`harness run`: a suite on a phone, from the file to the table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from harness.cli.flags import (
    CertsFolder,
    FarmText,
    LeaseWait,
    ResultsText,
    Runners,
    TransportName,
    given_flags,
    hub_of,
)
from harness.cli.run_display import RunDisplay, draw_run
from harness.core.errors import UsageError
from harness.core.judgement import ConfirmationResult
from harness.core.outcome import Outcome
from harness.core.phone import FORMS, AnyAttached, DeviceWord, parse_device_word
from harness.core.text import printable
from harness.store.address import DEFAULT_FOLDER, Results, ResultsAddress, parse_results

# Trials that a line names.
MAX_NAMED = 5
DEFAULT_ATTEMPTS = 3

if TYPE_CHECKING:
    from harness.bench.conductor import RunResult
    from harness.bench.confirm import Confirmed
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import Suite
    from harness.cli.run_several import Several
    from harness.report.run_pages import Drawn


def run(
    context: typer.Context,
    suite_file: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="What to load, how, what to expect.")],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="WORD", help=f"Repeatable, all at once: {FORMS}. With --farm: all."),
    ] = None,
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
    phones: Annotated[
        int | None,
        typer.Option("--phones", min=1, max=64, metavar="N", help="So many of each virtual word; at most, of a class."),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Each phone runs the whole suite; without it phones of a class share it.")
    ] = False,
    attempts: Annotated[
        int, typer.Option("--attempts", min=1, max=10, help="At a trial, when its phone is lost; several phones only.")
    ] = DEFAULT_ATTEMPTS,
    farm: FarmText = None,
    certs: CertsFolder = None,
    priority: Annotated[
        int, typer.Option("--priority", min=-100, max=100, help="In the farm; the higher goes first.")
    ] = 0,
    detach: Annotated[bool, typer.Option("--detach", help="Hand it to the farm, and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Records for machines instead of the table.")] = False,
) -> None:
    """Run a suite on a phone, on several at once, or in a farm; keep every record, print a table, draw the report."""
    given = given_flags(context)
    words = [parse_device_word(text) for text in device or (("all",) if farm is not None else ())]
    if not words:
        raise UsageError(f"say on which phone: --device WORD, which is {FORMS}; or --farm, for a farm's phones")
    _refuse(given, farm=farm)
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import load_suite

    options = RunOptions(
        runner=tuple(runner or ("auto",)),
        transport=transport,
        keep=tuple(keep or ()),
        preflight=preflight,
        lease_wait_s=lease_wait,
        build=build,
    )
    if farm is not None:
        from harness.cli.farm_run import Asked, run_in_farm
        from harness.farm.wish import Wish

        address, certificates = hub_of(farm, certs)
        wish = Wish(tuple(word.text for word in words), options, priority, attempts, each)
        asked = Asked(load_suite(suite_file), suite_file, wish, farm, address, certificates, detach, as_json)
        raise typer.Exit(run_in_farm(asked))
    results, suite = parse_results(results_text), load_suite(suite_file)
    from harness.farm.local_phones import phones_meant

    meant = asyncio.run(phones_meant(words, phones, each=each, tell=talk))
    shares = meant.shares
    for missing in meant.missing:
        talk(f"error: {missing}; the others run")
    several: Several | None = None
    if len(shares) > 1 or len(shares[0].phones) > 1:
        from harness.cli.run_several import Several, run_several

        several = Several(suite, suite_file, shares, results, options, attempts, resume, as_json)
        code, told = run_several(several)
    else:
        _only_for_several(given, words)
        code, told = _run_alone(suite, shares[0].alone, results, options, resume=resume, as_json=as_json)
    if code == exits.INTERRUPTED:
        raise typer.Exit(code)
    if confirm:
        for of_run in told:
            word = several.word_of(of_run) if several is not None else shares[0].alone
            code = max(code, _confirm_and_tell(word, results, options, confirm_limit, of_run, as_json=as_json))
    for missing in meant.missing:
        talk(f"error: nothing was run there: {missing}")
        code = max(code, exits.DEVICE)
    if as_json:
        # by what was asked and not by what was there: who asks for several gets a list
        print_json(told[0] if several is None and words == [shares[0].alone] else told)
    raise typer.Exit(code)


_NOT_WITH_A_FARM = {
    "results_text": ("--results", "the records are with the hub"),
    "lease_wait": ("--lease-wait", "a trial waits in the farm until a phone is free"),
    "resume": ("--resume", "a farm goes on with its runs by itself (harness farm status)"),
    "confirm": ("--confirm", "harness confirm does that on a phone of this machine, with the hub's --results"),
    "confirm_limit": ("--confirm-limit", "it goes with --confirm, which a farm does not do"),
    "phones": ("--phones", "the hosts say how many phones there are (harness farm join)"),
}
_ONLY_WITH_A_FARM = {"certs": "--certs", "priority": "--priority", "detach": "--detach"}
_ONLY_FOR_SEVERAL = {"each": "--each", "attempts": "--attempts"}


def _refuse(given: set[str], *, farm: str | None) -> None:
    """Flags that would silently mean nothing."""
    if farm is not None:
        for name, (flag, why) in _NOT_WITH_A_FARM.items():
            if name in given:
                raise UsageError(f"{flag} does not go with --farm: {why}; leave it out")
        return
    for name, flag in _ONLY_WITH_A_FARM.items():
        if name in given:
            raise UsageError(f"{flag} is for a farm: give its hub, too (--farm tls://host:8786), or leave it out")


def _only_for_several(given: set[str], words: Sequence[DeviceWord]) -> None:
    # how many phones `all` or a class means is not known before; alone, a phone runs the whole suite anyway
    by_chance = any(isinstance(word, AnyAttached) and (word.every or word.product_type) for word in words)
    for name, flag in _ONLY_FOR_SEVERAL.items():
        if name in given and not by_chance:
            raise UsageError(f"{flag} is for several phones, and only one is meant; leave it out")


def _run_alone(
    suite: Suite, phone: DeviceWord, results: Results, options: RunOptions, *, resume: bool, as_json: bool
) -> tuple[int, list[dict[str, object]]]:
    try:
        result = _run_on(suite, phone, results, options, resume=resume)
        if not result.counted:
            return _exit_code(result), [_for_machines(result, None)]
        if not as_json:
            _print_summary(results, result)
        drawn = draw_run(results, result.run_id)
        if not as_json:
            talk(f"this run alone: {drawn.run_page}")
            typer.echo(f"report: {drawn.index}")
        return _exit_code(result), [_for_machines(result, drawn)]
    except KeyboardInterrupt:
        text = results.text if isinstance(results, ResultsAddress) else str(results)
        talk(
            f"interrupted; the app on the phone has been ended, what was recorded is kept in {text}; "
            "go on with the same command and --resume"
        )
        return exits.INTERRUPTED, []


def _confirm_and_tell(
    phone: DeviceWord,
    results: ResultsAddress,
    options: RunOptions,
    limit: int,
    told: dict[str, object],
    *,
    as_json: bool,
) -> int:
    """The code of it; what was found goes into `told`."""
    try:
        confirmed = _confirm(phone, results, options, limit, as_json=as_json)
    except KeyboardInterrupt:
        talk("interrupted; the re-runs that were complete are kept")
        return exits.INTERRUPTED
    told["confirmations"] = [as_data(one) for one in confirmed]
    real = any(one.note.result is ConfirmationResult.CONFIRMED for one in confirmed)
    return exits.MODEL_FAILED if real else 0


def _run_on(suite: Suite, phone: DeviceWord, results: Results, options: RunOptions, *, resume: bool) -> RunResult:
    from harness.bench.conductor import run_suite

    with RunDisplay() as display:
        return asyncio.run(run_suite(suite, phone, results, display, options, resume=resume))


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
    from harness.report.table import EXPENDABLE, HEADINGS, summary_table
    from harness.store.database import ResultStore

    with ResultStore.open(results) as store:
        rows = [row.cells for row in summary_table(store.frame(run_id=result.run_id))]
    typer.echo(f"{printable(result.phone.label)}  udid {result.phone.udid}  run {result.run_id}")
    print_table(HEADINGS, rows, right=HEADINGS[5:], expendable=EXPENDABLE)


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

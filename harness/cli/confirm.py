"""`harness confirm`: the last good build against the first bad one of each open regression, in turns on one phone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.compare_turns import DEFAULT_CONFIRMED, DEFAULT_TRIALS
from harness.bench.run_options import LEASE_WAIT_S, RunOptions
from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson, LeaseWait, OnePhone, ResultsText, TransportName
from harness.cli.one_phone import one_phone
from harness.cli.run_display import RunDisplay
from harness.core.judgement import ConfirmationResult
from harness.core.phone import DeviceWord
from harness.core.text import MISSING
from harness.store.address import DEFAULT_FOLDER, ResultsAddress, parse_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.bench.confirm import Confirmed, ConfirmOptions

HEADINGS = ("Result", "Series", "Since", "Good", "Bad", "Why")

ConfirmLimit = Annotated[
    int, typer.Option("--confirm-limit", min=1, max=100, help="Changes that are re-run at most, the worst first.")
]


def confirm(
    device: OnePhone,
    series: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERIES]...", help="As `harness verdicts` lists them; without: the open ones."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=5, max=200, help="Of each side.")] = DEFAULT_TRIALS,
    limit: ConfirmLimit = DEFAULT_CONFIRMED,
    results_text: ResultsText = DEFAULT_FOLDER,
    transport: TransportName = "auto",
    lease_wait: LeaseWait = LEASE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Re-run each regression's two builds in turns, and keep what comes of it; exit 1 when one is confirmed."""
    results = parse_results(results_text)
    results.must_exist()
    from harness.bench.confirm import ConfirmOptions

    options = ConfirmOptions(trials, limit, None if not series else frozenset(series))
    run_options = RunOptions(transport=transport, lease_wait_s=lease_wait)
    told = confirm_on(one_phone("confirm", device), results, run_options, options)
    if as_json:
        print_json([as_data(one) for one in told])
    else:
        print_confirmed(told)
    confirmed = any(one.note.result is ConfirmationResult.CONFIRMED for one in told)
    raise typer.Exit(exits.MODEL_FAILED if confirmed else 0)


def confirm_on(
    word: DeviceWord, results: ResultsAddress, run_options: RunOptions, options: ConfirmOptions
) -> list[Confirmed]:
    """What `bench.confirm` does, shown as it goes."""
    from harness.bench.confirm import confirm as confirm_all

    try:
        with RunDisplay() as display:
            return asyncio.run(confirm_all(word, results, display, run_options, options))
    except KeyboardInterrupt:
        talk(f"interrupted; what was recorded is kept in {results.text}, and nothing is said of the series at hand")
        raise typer.Exit(exits.INTERRUPTED) from None


def print_confirmed(told: Sequence[Confirmed]) -> None:
    """A row a verdict."""
    if not told:
        talk("nothing to confirm: no open regression without an earlier answer, on this class of phone")
        return
    rows = []
    for one in told:
        good, bad = one.verdict.last_good, one.verdict.first_bad
        builds = [MISSING if label is None else label.words for label in (good, bad)]
        rows.append((one.note.result, one.note.series, str(one.note.first_bad), *builds, one.note.reason))
    print_table(HEADINGS, rows, whole=("Result",))


def as_data(one: Confirmed) -> dict[str, Any]:
    """For machines."""
    note = one.note
    return {
        "series": note.series,
        "first_bad": note.first_bad.isoformat(),
        "result": note.result,
        "reason": note.reason,
        "run_id": note.run_id,
        "at": note.at.isoformat(),
    }

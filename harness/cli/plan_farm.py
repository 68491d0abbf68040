"""`harness plan --farm`: which phones would run a suite, and when it would be over; nothing is run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.console import print_json, print_table, talk
from harness.cli.run_display import RunDisplay
from harness.core.text import MISSING, printable
from harness.report.farm_table import PHONE_HEADINGS as ALL_HEADINGS
from harness.report.farm_table import note_lines, phone_rows, rough_text

if TYPE_CHECKING:
    from harness.bench.suite import Suite
    from harness.farm.address import Certificates, FarmAddress
    from harness.farm.wire import PlanAnswer, SubmittedRun
    from harness.farm.wish import Wish

RUN_HEADINGS = ("Target", "Trials", "Phones", "Ends in", "At (UTC)", "Time not known")
PHONE_HEADINGS = ("Phone", "Host", "Class", "iOS", "State")
PHONE_EXPENDABLE = ("iOS", "Host", "Class")


def plan_in_farm(
    suite: Suite,
    suite_file: Path,
    wish: Wish,
    address: FarmAddress,
    certificates: Certificates | None,
    *,
    as_json: bool,
) -> None:
    """Asks the hub, and tells. Raises HarnessError's kin when it cannot be reached or refuses."""
    with RunDisplay() as display:
        told = asyncio.run(_ask(suite, suite_file, wish, address, certificates, display))
    for note in told.notes:
        talk(note)
    if as_json:
        plain = told.plain()
        for run in plain["runs"]:
            # nothing is run, so there is no run that it could name
            del run["run_id"]
        print_json({"suite": suite.name, "suite_digest": suite.digest, **plain})
        return
    typer.echo(printable(f"{suite.name} in the farm {address.text}"))
    now = datetime.now(UTC)
    print_table(RUN_HEADINGS, [_cells(run, now) for run in told.runs], right=RUN_HEADINGS[1:], whole=("Target",))
    typer.echo()
    headings = {name: at for at, name in enumerate(ALL_HEADINGS)}
    rows = [tuple(row[headings[name]] for name in PHONE_HEADINGS) for row in phone_rows(told.phones)]
    print_table(PHONE_HEADINGS, rows, whole=("Phone",), expendable=PHONE_EXPENDABLE)
    for line in note_lines(told.phones):
        typer.echo(printable(line))


def _cells(run: SubmittedRun, now: datetime) -> tuple[str, ...]:
    if run.planned_s is None:
        ends, at = "not known", MISSING
    else:
        # a sum with unknown parts is told as the least it can be
        ends = ("at least " if run.unknown else "") + rough_text(run.planned_s)
        at = f"{now + timedelta(seconds=run.planned_s):%Y-%m-%d %H:%M}"
    unknown = f"{run.unknown} of {run.trials}" if run.unknown else "none"
    return (run.target, str(run.trials), str(run.phones), ends, at, unknown)


async def _ask(
    suite: Suite,
    suite_file: Path,
    wish: Wish,
    address: FarmAddress,
    certificates: Certificates | None,
    display: RunDisplay,
) -> PlanAnswer:
    from harness.farm.client import greet, submission_of
    from harness.farm.link import open_link
    from harness.farm.wire import PlanAnswer

    async with open_link(address, certificates) as link:
        await greet(link)
        # files are named, and not sent
        submission, _ = await asyncio.to_thread(submission_of, suite, suite_file, wish, display.step)
        return await link.ask("plan", submission, PlanAnswer, limit_s=300.0)

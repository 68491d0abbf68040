"""`harness farm status`: phones, what they do, what waits, what went wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.farm_display import picture
from harness.cli.flags import CertsFolder, HubText, hub_of
from harness.core.text import printable
from harness.report.farm_table import (
    FAILURE_HEADINGS,
    PHONE_HEADINGS,
    RUN_HEADINGS,
    RUN_RIGHT,
    failure_rows,
    phone_rows,
    run_rows,
)

if TYPE_CHECKING:
    from harness.farm.link import Link
    from harness.farm.wire import Status

WATCH_S = 1.0
MAX_FAILURES_SHOWN = 10


def status(
    farm: HubText = None,
    certs: CertsFolder = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines; with --watch one object a line.")] = False,
) -> None:
    """Tell of the farm's phones, runs and newest failures."""
    address, certificates = hub_of(farm, certs)
    from harness.farm.link import open_link

    async def ask() -> None:
        async with open_link(address, certificates) as link:
            if watch:
                await _watch(link, as_json=as_json)
                return
            told = await _ask(link)
            if as_json:
                print_json(told.plain())
            else:
                _print(told)

    try:
        asyncio.run(ask())
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        # whoever read the lines has seen enough; the interpreter must not try to write the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _ask(link: Link) -> Status:
    from harness.farm.wire import Nothing, Status

    return await link.ask("status", Nothing(), Status)


def _print(told: Status) -> None:
    typer.echo(printable(head(told)))
    if told.phones:
        print_table(PHONE_HEADINGS, phone_rows(told.phones), right=("Done", "Battery", "Temp"), whole=("Phone",))
    if told.runs:
        typer.echo()
        print_table(RUN_HEADINGS, run_rows(told.runs), right=RUN_RIGHT, whole=("Run",))
    if told.failures:
        typer.echo()
        print_table(FAILURE_HEADINGS, failure_rows(told.failures[-MAX_FAILURES_SHOWN:]), whole=("At", "What"))


def head(told: Status) -> str:
    """`hub tls://hub:8786: 12 phones (9 busy, 2 free, 1 out), 3 runs, 128 trials wait`."""
    states: dict[str, int] = {}
    for phone in told.phones:
        states[phone.state] = states.get(phone.state, 0) + 1
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda item: -item[1]))
    active = [run for run in told.runs if run.state == "active"]
    phones = f"{len(told.phones)} {'phone' if len(told.phones) == 1 else 'phones'}"
    waiting = sum(run.waiting for run in active)
    runs = f"{len(active)} {'run is' if len(active) == 1 else 'runs are'} active, {waiting} trials wait"
    return (
        f"hub {told.hub} ({told.version}, since {told.since}): {phones}{f' ({by_state})' if by_state else ''}; {runs}"
    )


async def _watch(link: Link, *, as_json: bool) -> None:
    """Until Ctrl-C; a hub that is away is told of once."""
    from harness.farm.client import ask_patiently
    from harness.farm.wire import Nothing, Status

    # whoever is wrong about the address is told at once, and not waited with
    told = await _ask(link)
    console = Console(highlight=False)
    live: Live | None = None
    if not as_json and console.is_terminal and not console.is_dumb_terminal:
        live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        live.start()
    try:
        while True:
            if as_json:
                sys.stdout.write(json.dumps(told.plain()) + "\n")
                sys.stdout.flush()
            elif live is not None:
                live.update(_picture(told), refresh=True)
            else:
                _print(told)
                sys.stdout.flush()
            await asyncio.sleep(WATCH_S)
            told = await ask_patiently(link, "status", Nothing(), Status, talk)
    finally:
        if live is not None:
            live.stop()


def _picture(told: Status) -> RenderableType:
    active = [run for run in told.runs if run.state == "active"]
    parts: list[RenderableType] = [Text(printable(head(told))), picture(active, told.phones)]
    if told.failures:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in FAILURE_HEADINGS:
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for row in failure_rows(told.failures[-MAX_FAILURES_SHOWN:]):
            table.add_row(*(Text(printable(cell)) for cell in row), style="red")
        parts += [Text(), table]
    return Group(*parts)

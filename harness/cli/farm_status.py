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
from rich.text import Text

from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.farm_display import picture
from harness.cli.flags import CertsFolder, HubText, hub_of
from harness.core.standing import RunStanding
from harness.core.text import printable
from harness.report.farm_table import (
    PHONE_EXPENDABLE,
    PHONE_HEADINGS,
    PHONE_RIGHT,
    RUN_EXPENDABLE,
    RUN_HEADINGS,
    RUN_RIGHT,
    failure_lines,
    note_lines,
    phone_rows,
    run_rows,
    state_text,
)

if TYPE_CHECKING:
    from harness.farm.link import Link
    from harness.farm.wire import Status

WATCH_S = 1.0
MAX_FAILURES_SHOWN = 10
MAX_FAILURES_WATCHED = 5


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
        rows = phone_rows(told.phones)
        print_table(PHONE_HEADINGS, rows, right=PHONE_RIGHT, whole=("Phone",), expendable=PHONE_EXPENDABLE)
    _print_lines("", note_lines(told.phones))
    if told.runs:
        typer.echo()
        print_table(RUN_HEADINGS, run_rows(told.runs), right=RUN_RIGHT, whole=("Run",), expendable=RUN_EXPENDABLE)
    _print_lines("What went wrong, newest first (UTC):", failure_lines(told.failures[:MAX_FAILURES_SHOWN]))


def _print_lines(heading: str, lines: list[str]) -> None:
    for line in [*([f"\n{heading}"] if heading and lines else []), *lines]:
        typer.echo(printable(line))


def head(told: Status) -> str:
    """`hub tls://hub:8786: 12 phones (9 busy, 2 free, 1 out); 3 runs, 128 trials wait`."""
    states: dict[str, int] = {}
    for phone in told.phones:
        name = state_text(phone)
        states[name] = states.get(name, 0) + 1
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda item: -item[1]))
    active = [run for run in told.runs if run.state == RunStanding.ACTIVE]
    phones = f"{len(told.phones)} {'phone' if len(told.phones) == 1 else 'phones'}"
    waiting = sum(run.waiting for run in active)
    wait = f"{waiting} {'trial waits' if waiting == 1 else 'trials wait'}"
    runs = f"{len(active)} {'run' if len(active) == 1 else 'runs'}, {wait}" if active else "no run is active"
    return f"hub {told.hub}: {phones}{f' ({by_state})' if by_state else ''}; {runs}"


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

    def say(text: str) -> None:
        # a line beside the picture would tear it
        if live is None:
            talk(text)
        else:
            live.update(_picture(told, console.width, text), refresh=True)

    try:
        while True:
            if as_json:
                sys.stdout.write(json.dumps(told.plain()) + "\n")
                sys.stdout.flush()
            elif live is not None:
                live.update(_picture(told, console.width), refresh=True)
            else:
                _print(told)
                sys.stdout.flush()
            await asyncio.sleep(WATCH_S)
            told = await ask_patiently(link, "status", Nothing(), Status, say)
    finally:
        if live is not None:
            live.stop()


def _picture(told: Status, width: int, trouble: str = "") -> RenderableType:
    active = [run for run in told.runs if run.state == RunStanding.ACTIVE]
    parts: list[RenderableType] = [Text(printable(trouble), style="red")] if trouble else []
    parts += [Text(printable(head(told))), picture(active, told.phones, width)]
    failures = failure_lines(told.failures[:MAX_FAILURES_WATCHED])
    if failures:
        parts += [Text(), *(Text(printable(line), style="red") for line in failures)]
    return Group(*parts)

"""`harness farm drain`: a phone or a host finishes what is under way and takes no more."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from harness.cli.console import talk
from harness.cli.flags import CertsFolder, HubText, hub_of
from harness.core.errors import UsageError


def drain(
    what: Annotated[str, typer.Argument(metavar="PHONE|HOST", help="As `harness farm status` lists it.")],
    farm: HubText = None,
    certs: CertsFolder = None,
    undo: Annotated[bool, typer.Option("--undo", help="It takes trials again.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for others who look.")] = "",
) -> None:
    """Let a phone or a host finish what is under way, and give it no more trials; the word outlives the hub."""
    address, certificates = hub_of(farm, certs)
    if undo and reason:
        raise UsageError("--reason is for draining; leave it out with --undo")
    from harness.farm.client import made, whoami
    from harness.farm.link import open_link
    from harness.farm.wire import Drain, Nothing

    message = made(Drain, what=what, undo=undo, by=whoami(), reason=reason)

    async def ask() -> None:
        async with open_link(address, certificates) as link:
            await link.ask("drain", message, Nothing)

    asyncio.run(ask())
    talk(f"{what} takes trials again" if undo else f"{what} finishes what is under way and takes no more trials")

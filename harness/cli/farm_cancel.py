"""`harness farm cancel`: a run is ended; what is under way is finished."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from harness.cli.console import talk
from harness.cli.flags import CertsFolder, HubText, hub_of


def cancel(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN…", help="As `harness farm status` lists it.")],
    farm: HubText = None,
    certs: CertsFolder = None,
) -> None:
    """End a run: trials that wait are not begun, those under way are finished and kept."""
    address, certificates = hub_of(farm, certs)
    from harness.farm.client import made, whoami
    from harness.farm.link import open_link
    from harness.farm.wire import Cancel, Nothing

    messages = [made(Cancel, run_id=run_id, by=whoami()) for run_id in run_ids]

    async def ask() -> None:
        async with open_link(address, certificates) as link:
            for message in messages:
                await link.ask("cancel", message, Nothing)
                talk(f"run {message.run_id} is cancelled; trials under way are finished")

    asyncio.run(ask())

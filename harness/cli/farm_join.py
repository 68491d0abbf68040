"""`harness farm join`: this machine's phones take part in a farm until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import exits
from harness.cli.console import talk
from harness.cli.flags import Runners, TransportName

if TYPE_CHECKING:
    from harness.core.phone import DeviceWord
    from harness.farm.address import Certificates, FarmAddress
    from harness.farm.host.join import HostOptions

STALL_LIMIT_S = 60.0


def join(
    hub: Annotated[str, typer.Argument(metavar="HUB", help="tls://host:8786, or tcp://127.0.0.1:8786 on one machine.")],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="WORD", help="all, class:…, a UDID, virtual:…; repeatable.  [default: all]"),
    ] = None,
    phones: Annotated[int, typer.Option("--phones", min=1, max=128, help="So many of each virtual word.")] = 1,
    host_name: Annotated[
        str, typer.Option("--host-name", metavar="NAME", help="What the farm calls this machine.  [default: its name]")
    ] = "",
    spool: Annotated[
        Path | None,
        typer.Option(
            "--spool", metavar="FOLDER", help="Where records wait for the hub.  [default: in the user's state]"
        ),
    ] = None,
    certs: Annotated[
        Path | None,
        typer.Option("--certs", metavar="FOLDER", help="This machine's certificate; see harness farm certs."),
    ] = None,
    runner: Runners = None,
    transport: TransportName = "auto",
    usb_cycle: Annotated[
        str | None,
        typer.Option(
            "--usb-cycle",
            metavar="COMMAND",
            help="Switches a hanging phone's port: 'uhubctl -a cycle -l {location} -p {port}'; {udid} is known, too.",
        ),
    ] = None,
    files: Annotated[
        str | None,
        typer.Option(
            "--files", metavar="URL", help="Put telemetry and artifacts there (s3://…, file:///…) instead of the hub."
        ),
    ] = None,
    stall_limit: Annotated[
        float,
        typer.Option("--stall-limit", min=10, metavar="SECONDS", help="Restart a phone's process silent so long."),
    ] = STALL_LIMIT_S,
) -> None:
    """Join a farm with this machine's phones: a process for each, restarted when it dies; records wait for the hub.

    The first Ctrl-C (or SIGTERM) lets trials under way finish, the second ends them.
    """
    from harness.device.combined import parse_transport
    from harness.farm.address import certificates_in, default_certs_folder, parse_address
    from harness.farm.host.file_store import check_file_store
    from harness.farm.host.join import HostOptions, parse_words
    from harness.farm.host.usb_cycle import parse_usb_cycle

    address = parse_address(hub, "HUB")
    words = parse_words(device or ["all"])
    parse_transport(transport)
    options = HostOptions(
        name=host_name,
        spool=spool,
        phones=phones,
        runner=tuple(runner or ("auto",)),
        transport=transport,
        usb_cycle=() if usb_cycle is None else parse_usb_cycle(usb_cycle),
        stall_limit_s=stall_limit,
        file_store="" if files is None else check_file_store(files),
    )
    certificates = certificates_in(certs or default_certs_folder()) if address.scheme == "tls" else None
    raise typer.Exit(asyncio.run(_join(address, certificates, words, options)))


async def _join(
    address: FarmAddress, certificates: Certificates | None, words: list[DeviceWord], options: HostOptions
) -> int:
    from harness.farm.host.join import open_host

    loop = asyncio.get_running_loop()
    asked, again = asyncio.Event(), asyncio.Event()

    def ask() -> None:
        (again if asked.is_set() else asked).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    async with open_host(address, certificates, words, options, talk) as host:
        talk(f"host {host.name} joins {address.text}")
        await asked.wait()
        talk("finishing what is under way; once more: end it now")
        draining = asyncio.create_task(host.drain())
        ending = asyncio.create_task(again.wait())
        await asyncio.wait([draining, ending], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        ending.cancel()
        await asyncio.gather(draining, ending, return_exceptions=True)
        if again.is_set():
            talk("ending it now")
    return exits.INTERRUPTED if again.is_set() else 0

"""Flags that several verbs have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.core.errors import UsageError
from harness.store.address import FORMS

if TYPE_CHECKING:
    from datetime import date

    from harness.farm.address import Certificates, FarmAddress

Runners = Annotated[
    list[str] | None,
    typer.Option("--runner", help="auto, python, swift, or the path of an .ipa; repeatable, one .ipa a variant."),
]
TransportName = Annotated[
    str, typer.Option("--transport", help="auto, or the client library that does what it can on the phone.")
]
LeaseWait = Annotated[
    float, typer.Option("--lease-wait", min=0, metavar="SECONDS", help="Wait so long for a phone in use.")
]
Headroom = Annotated[
    str, typer.Option("--headroom", metavar="PERCENT", help="Of the footprint limit, to be left at the peak.")
]
DEFAULT_HEADROOM = "20%"
OnePhone = Annotated[str, typer.Option("--device", metavar="WORD", help="One phone; as for `harness run`.")]
ResultsText = Annotated[str, typer.Option("--results", help=f"Where records are kept: {FORMS}.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def night_of(text: str | None, flag: str) -> date | None:
    """The night that a flag names; None: it was not given. Raises UsageError, which names the flag."""
    from harness.analysis.series import parse_night

    if text is None:
        return None
    try:
        return parse_night(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from None


HUB_VARIABLE = "IPHONE_LOAD_HARNESS_HUB"
"""Names the hub where no `--farm` does, for verbs that are about a farm and nothing else."""
FarmText = Annotated[
    str | None, typer.Option("--farm", metavar="ADDRESS", help="The farm's hub: tls://host[:8786]; see docs/farm.md.")
]
HubText = Annotated[
    str | None,
    typer.Option(
        "--farm",
        metavar="ADDRESS",
        envvar=HUB_VARIABLE,
        show_envvar=False,
        help=f"The farm's hub: tls://host[:8786]; without it what {HUB_VARIABLE} says.",
    ),
]
CertsFolder = Annotated[
    Path | None,
    typer.Option("--certs", metavar="DIR", help="This machine's certificate in the farm (harness farm certs issue)."),
]


def hub_of(farm: str | None, certs: Path | None) -> tuple[FarmAddress, Certificates | None]:
    """Where the hub is, and this machine's certificates; None for `tcp://`, which shows none. Raises UsageError."""
    from harness.farm.address import certificates_in, default_certs_folder, parse_address

    if not farm:
        raise UsageError(f"say where the hub is: --farm tls://host:8786, or {HUB_VARIABLE} in the environment")
    address = parse_address(farm)
    if address.scheme == "tcp":
        return address, None
    return address, certificates_in(certs if certs is not None else default_certs_folder())


def given_flags(context: typer.Context) -> set[str]:
    """Names of the parameters that stood on the command line, whatever their value."""
    # by name: the class is the CLI library's own, and typer does not hand it out
    names = [parameter.name for parameter in context.command.params if parameter.name]
    return {name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}

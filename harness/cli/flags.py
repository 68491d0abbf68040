"""Flags that several verbs have, each said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.core.errors import UsageError
from harness.store.address import FORMS

if TYPE_CHECKING:
    from datetime import date

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

"""Flags that several verbs have, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.store.address import FORMS

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

"""`harness devices`: which phones can be used."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from harness.cli.console import print_json, print_table, rows_of, talk
from harness.core.errors import DeviceError
from harness.core.phone import DEFAULT_PROFILE


def devices(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """List the phones attached to this machine, and the virtual one that always is."""
    from harness.device.pymobiledevice3_ import attached_phones

    found: list[dict[str, Any]] = []
    try:
        for phone in asyncio.run(attached_phones()):
            usable = phone.connection == "USB"
            note = "" if usable else "attach it by USB: telemetry over Wi-Fi is not to be trusted"
            found.append({"device": phone.udid, "kind": "physical", "connection": phone.connection, "note": note})
    except DeviceError as error:
        talk(f"no physical phones: {error}")
    note = f"--device=virtual is virtual:{DEFAULT_PROFILE}"
    found.append({"device": f"virtual:{DEFAULT_PROFILE}", "kind": "virtual", "connection": None, "note": note})
    if as_json:
        print_json(found)
    else:
        keys = ("device", "kind", "connection", "note")
        print_table(keys, rows_of(found, keys))

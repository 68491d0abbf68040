"""`harness devices`: which phones can be used, who uses them or has reserved them, and which come and go."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import exits
from harness.cli.console import print_json, print_table, rows_of, talk
from harness.cli.devices_reserve import release, reserve
from harness.cli.flags import given_flags
from harness.core.errors import DeviceError, UsageError
from harness.core.phone import DEFAULT_PROFILE

if TYPE_CHECKING:
    from harness.device.listing import ListedPhone, PhoneChange
    from harness.device.lock_holder import Holder
    from harness.device.reservation import Reservation

_HEADINGS = {
    "device": "device",
    "kind": "kind",
    "product_type": "class",
    "ios": "iOS",
    "connection": "connection",
    "user": "in use by",
    "reserved": "reserved by",
    "note": "note",
}


app = typer.Typer(help="The phones of this machine.", invoke_without_command=True, no_args_is_help=False)
app.command("reserve")(reserve)
app.command("release")(release)


@app.callback()
def devices(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and tell of each that comes or goes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines; with --watch one object a line.")] = False,
) -> None:
    """List the phones attached to this machine, and the virtual one that always is; keep one for yourself."""
    if context.invoked_subcommand is not None:
        if given := given_flags(context):
            raise UsageError(f"--{sorted(given)[0].removeprefix('as_')} is for the list, not for a verb of it")
        return
    if watch:
        raise typer.Exit(_watch_until_interrupted(as_json))
    found = _listed()
    if as_json:
        print_json(found)
        return
    for row in found:
        row["user"] = _user_of(row)
        row["reserved"] = None if row["reserved_by"] is None else row["reserved_by"]["text"]
    print_table(list(_HEADINGS.values()), rows_of(found, list(_HEADINGS)), whole=("device", "class"))


def _listed() -> list[dict[str, Any]]:
    from harness.device.listing import embedded_phones, list_phones

    found: list[dict[str, Any]] = []
    try:
        found += map(_row, asyncio.run(list_phones()))
    except DeviceError as error:
        talk(f"no attached phones: {error}")
    for holder in embedded_phones():
        note = "lives in the process that uses it"
        found.append(_virtual_row("virtual", in_use=True, holder=holder, note=note))
    note = f"--device=virtual is virtual:{DEFAULT_PROFILE}"
    found.append(_virtual_row(f"virtual:{DEFAULT_PROFILE}", in_use=False, holder=None, note=note))
    return found


def _row(phone: ListedPhone) -> dict[str, Any]:
    """What is not known is null."""
    facts = phone.facts
    return {
        "device": phone.udid,
        "kind": facts.kind.value if facts is not None else None,
        "product_type": (facts.product_type or None) if facts is not None else None,
        "ios": (facts.os_version or None) if facts is not None else None,
        "connection": phone.connection,
        "in_use": phone.in_use,
        "in_use_by": _holder(phone.holder),
        "reserved_by": None if phone.reservation is None else _reservation(phone.reservation),
        "note": phone.problem or "",
    }


def _virtual_row(device: str, *, in_use: bool, holder: Holder | None, note: str) -> dict[str, Any]:
    return {
        "device": device,
        "kind": "virtual",
        "product_type": None,
        "ios": None,
        "connection": None,
        "in_use": in_use,
        "in_use_by": _holder(holder),
        "reserved_by": None,
        "note": note,
    }


def _reservation(reservation: Reservation) -> dict[str, Any]:
    return {**reservation.model_dump(), "text": reservation.text}


def _holder(holder: Holder | None) -> dict[str, Any] | None:
    return None if holder is None else {**holder.model_dump(), "text": holder.text}


def _user_of(row: dict[str, Any]) -> str | None:
    if not row["in_use"]:
        return None
    return str(row["in_use_by"]["text"]) if row["in_use_by"] is not None else "a process that left no word of itself"


def _watch_until_interrupted(as_json: bool) -> int:
    try:
        asyncio.run(_watch(as_json))
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # whoever read the lines has seen enough; the interpreter must not try to write the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _watch(as_json: bool) -> None:
    from harness.device.listing import watch_phones

    async for change in watch_phones():
        now = datetime.now().astimezone()
        if as_json:
            line = json.dumps({"at": now.isoformat(timespec="milliseconds"), **_change_row(change)})
        else:
            line = f"{now:%H:%M:%S}  {_change_text(change)}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _change_row(change: PhoneChange) -> dict[str, Any]:
    if change.phone is None:
        return {"change": change.change.value, "note": change.problem or ""}
    return {"change": change.change.value, **_row(change.phone)}


def _change_text(change: PhoneChange) -> str:
    what = change.change.value.replace("_", " ")
    if change.phone is None:
        return f"{what}{f': {change.problem}' if change.problem else ''}"
    row = _row(change.phone)
    facts = change.phone.facts
    words = [f"{what:8}", change.phone.udid, facts.label if facts is not None else "does not answer", row["connection"]]
    if change.change.value == "attached":
        words += [f"in use by {user}" for user in [_user_of(row)] if user]
        words += [f"reserved by {by['text']}" for by in [row["reserved_by"]] if by] + [
            note for note in [row["note"]] if note
        ]
    return "  ".join(words)

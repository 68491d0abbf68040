"""`harness devices reserve` and `release`: a phone is kept for a person, on this host or in a farm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from harness.cli.console import print_json, talk
from harness.cli.flags import AsJson, CertsFolder, FarmText, hub_of
from harness.core.errors import UsageError
from harness.core.phone import ByUdid, parse_device_word

PhoneName = Annotated[str, typer.Argument(metavar="PHONE", help="A UDID; with --farm as `harness farm status` has it.")]

Force = Annotated[bool, typer.Option("--force", help="With --farm: also when it is somebody else's.")]


def reserve(
    phone: PhoneName,
    for_text: Annotated[str, typer.Option("--for", metavar="TIME", help="From now on: 45min, 2h, 1d.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for others who want it.")] = "",
    farm: FarmText = None,
    certs: CertsFolder = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Keep a phone for yourself: runs of other users of this host leave it alone; with --farm the farm's do."""
    from harness.device.reservation import Reservations, parse_duration

    for_s = parse_duration(for_text, "--for")
    if farm is not None:
        from harness.farm.reservations import reserve_in_farm

        reserve_in_farm(*hub_of(farm, certs), phone, for_s, reason, force=force)
        until = datetime.now(UTC) + timedelta(seconds=for_s)
        if as_json:
            print_json({"phone": phone, "until": until.isoformat(timespec="seconds"), "reason": reason})
        talk(f"{phone} gets no trials of the farm until {until:%Y-%m-%d %H:%M} UTC; a trial under way is finished")
        return
    _only_with_farm(certs, force)
    made = Reservations.shared().reserve(_udid(phone), for_s, reason)
    if as_json:
        print_json(made.model_dump())
    talk(f"phone {made.udid} is reserved by {made.text}; let it go with: harness devices release {made.udid}")


def release(phone: PhoneName, farm: FarmText = None, certs: CertsFolder = None, force: Force = False) -> None:
    """Let a phone go that you have reserved."""
    if farm is not None:
        from harness.farm.reservations import reserve_in_farm

        was = reserve_in_farm(*hub_of(farm, certs), phone, 0.0, force=force)
        talk(f"{phone} is there for the farm again; it was reserved {was}" if was else f"{phone} was not reserved")
        return
    from harness.device.reservation import Reservations

    _only_with_farm(certs, force)
    ours = Reservations.shared().release(_udid(phone))
    talk(f"phone {phone} was not reserved" if ours is None else f"phone {phone} is there for everybody again")


def _only_with_farm(certs: object, force: bool) -> None:
    if force:
        raise UsageError("--force is for a farm (--farm); on this host only who has reserved a phone can let it go")
    if certs is not None:
        raise UsageError("--certs is for a farm: give its hub, too (--farm tls://host:8786), or leave it out")


def _udid(text: str) -> str:
    word = parse_device_word(text)
    if not isinstance(word, ByUdid):
        raise UsageError(f"{text}: on this host a phone is reserved by its UDID (harness devices); with --farm any is")
    return word.udid

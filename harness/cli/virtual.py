"""`harness virtual`: the virtual iPhones there are, and running some for any tool that speaks to usbmuxd."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.console import print_json, print_table, rows_of
from harness.core.phone import DEFAULT_PROFILE
from harness.core.units import GIB, MIB, format_bytes
from harness.virtual.catalogue import Profile, catalogue

app = typer.Typer(
    help="Virtual iPhones: a list of the profiles, or some of them running.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_SIZES = ("ram", "footprint_limit", "footprint_limit_increased", "allocation_limit", "allocation_limit_extended")
_HEADINGS = {
    "profile": "profile",
    "marketing_name": "phone",
    "product_type": "product",
    "ios": "iOS",
    "ram": "RAM",
    "footprint_limit": "limit",
    "footprint_limit_increased": "increased",
    "allocation_limit": "addresses",
    "allocation_limit_extended": "extended",
}


@app.command("list")
def list_profiles(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """List the profiles: limits are what jetsam and the address space leave an app, `*` marks an assumed value."""
    profiles = list(catalogue().values())
    if as_json:
        print_json([_for_machines(profile) for profile in profiles])
        return
    print_table(list(_HEADINGS.values()), rows_of([_for_people(profile) for profile in profiles], list(_HEADINGS)))


def _for_machines(profile: Profile) -> dict[str, Any]:
    return {
        "profile": profile.name,
        "marketing_name": profile.marketing_name,
        "product_type": profile.product_type,
        "hardware_model": profile.hardware_model,
        "chip_id": profile.chip_id,
        "ios": list(profile.versions),
        "default_ios": profile.default_ios,
        **{f"{size}_bytes": getattr(profile, f"{size}_bytes") for size in _SIZES},
        "sources": dict(profile.sources),
    }


def _for_people(profile: Profile) -> dict[str, str]:
    versions = list(profile.versions)
    row = {"profile": profile.name, "marketing_name": profile.marketing_name, "product_type": profile.product_type}
    row["ios"] = versions[0] if len(versions) == 1 else f"{versions[0]} – {versions[-1]}"
    for size in _SIZES:
        mark = "*" if profile.sources[size] == "assumed" else ""
        row[size] = _size(getattr(profile, f"{size}_bytes")) + mark
    return row


def _size(size_bytes: int) -> str:
    """Limits in MiB, as the kernel and every report count them; whole GiB as such."""
    return format_bytes(size_bytes) if size_bytes % GIB == 0 else f"{size_bytes // MIB} MiB"


@app.command("run")
def run(
    profile: Annotated[
        list[str] | None,
        typer.Option(help=f"NAME[,key=value…], again for another phone.  [default: {DEFAULT_PROFILE}]"),
    ] = None,
    count: Annotated[int, typer.Option(help="So many of each profile.")] = 1,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of every phone, as footprint_limit=90MiB."),
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Where they keep their things.  [default: free slots]")] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where usbmuxd listens.  [default: a free loopback port]")
    ] = None,
    socket: Annotated[Path | None, typer.Option(help="A unix socket instead.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every dropped client.")] = False,
) -> None:
    """Run virtual iPhones until Ctrl-C; the first line on stdout (JSON) says where they can be reached."""
    words = [f"--count={count}", *(["--verbose"] if verbose else [])]
    words += [f"--profile={word}" for word in profile or []] + [f"--set={word}" for word in setting or []]
    options = {"--home": home, "--listen": listen, "--socket": socket}
    words += [f"{name}={value}" for name, value in options.items() if value is not None]
    sys.stdout.flush()
    # in its place: signals, standard output and the exit code are the phones' own
    os.execv(sys.executable, [sys.executable, "-m", "harness.virtual", *words])  # noqa: S606  # an argument vector of our own, no shell: the phones take this process over

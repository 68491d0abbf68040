"""`harness results gc`: files that no record names, and those of old trials."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson, ResultsText
from harness.cli.results_filters import parse_age
from harness.core.units import format_bytes
from harness.store.address import DEFAULT_FOLDER, parse_results


def gc(
    results_text: ResultsText = DEFAULT_FOLDER,
    delete: Annotated[bool, typer.Option("--delete", help="Remove them; without it they are only listed.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Telemetry and artifacts of older trials, too, as 90d; records stay."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List or remove what no record names: telemetry, artifacts, half-written files, pictures of unfinished reports."""
    from harness.store.cleaning import find_leftovers, remove_leftovers
    from harness.store.database import ResultStore

    age = None if older_than is None else parse_age(older_than, "--older-than")
    results = parse_results(results_text)
    results.must_exist()
    if delete:
        with ResultStore.open(results) as store:
            leftovers = remove_leftovers(store, age)
    else:
        with ResultStore.open_existing(results) as store:
            leftovers = find_leftovers(store, age)
    total = sum(one.size_bytes for one in leftovers)
    if as_json:
        listed = [
            {"path": one.path.as_posix(), "why": one.why.value, "bytes": one.size_bytes, "trial_id": one.trial_id}
            for one in leftovers
        ]
        print_json({"deleted": delete, "bytes": total, "leftovers": listed})
        return
    if leftovers:
        print_table(
            ("path", "size", "why"),
            [(one.path.as_posix(), format_bytes(one.size_bytes), one.why.value) for one in leftovers],
            right=("size",),
        )
    typer.echo(f"{format_bytes(total)} {'freed' if delete else 'can be freed'}")
    if leftovers and not delete:
        talk("nothing was removed; --delete removes them")

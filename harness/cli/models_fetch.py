"""`harness models fetch`: the models of a suite that have an address, or one address, into the user's cache folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import print_json, print_table, talk
from harness.cli.run_display import RunDisplay
from harness.core.errors import UsageError
from harness.core.units import format_bytes

if TYPE_CHECKING:
    from harness.bench.fetch import Wanted


def fetch_models(
    what: Annotated[str, typer.Argument(metavar="SUITE.toml|URL", help="Whose models to fetch, or one https address.")],
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="DIGEST", help="Of the file at that address; never fetched without."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines instead of the table.")] = False,
) -> None:
    """Fetch model files that have an address and a digest; what was cut short goes on where it stopped."""
    from harness.bench.fetch import fetch
    from harness.bench.models import models_folder

    wanted, by_hand = _of_address(what, sha256) if "://" in what else _of_suite(Path(what), sha256)
    told = []
    with RunDisplay() as display:
        for name, one in wanted:
            path, new = fetch(one, models_folder(), display.step)
            told.append(
                {"model": name, "sha256": one.sha256, "bytes": path.stat().st_size, "path": str(path), "new": new}
            )
    if as_json:
        print_json(told)
    elif told:
        rows = [
            [
                str(row["model"]),
                format_bytes(int(str(row["bytes"]))),
                "fetched" if row["new"] else "was there",
                str(row["path"]),
            ]
            for row in told
        ]
        print_table(("Model", "Size", "", "File"), rows, right=("Size",))
    if by_hand:
        raise UsageError("not to be fetched: " + "; ".join(by_hand))
    if not wanted:
        talk(f"{what}: no model in it has a `url`; there is nothing to fetch")


def _of_address(url: str, sha256: str | None) -> tuple[list[tuple[str, Wanted]], list[str]]:
    from harness.bench.fetch import Wanted

    if sha256 is None:
        raise UsageError(
            f"{url}: needs --sha256: what is fetched must be what was meant. Its publisher tells the digest"
        )
    one = Wanted(url, sha256)
    return [(one.file_name, one)], []


def _of_suite(suite_file: Path, sha256: str | None) -> tuple[list[tuple[str, Wanted]], list[str]]:
    """What to fetch, and what a person has to get: files that are not there and have no address."""
    from harness.bench.fetch import Wanted
    from harness.bench.models import missing
    from harness.bench.suite import load_suite

    if sha256 is not None:
        raise UsageError("--sha256 goes with an address; a suite's models have digests of their own")
    wanted, by_hand = [], []
    for entry in load_suite(suite_file).models:
        if entry.url is not None and entry.sha256 is not None:
            wanted.append((entry.name, Wanted(entry.url, entry.sha256, entry.source, entry.licence)))
        elif entry.path is not None and not entry.path.is_file():
            by_hand.append(missing(entry))
    return wanted, by_hand

"""`harness results demo`: results made by seed, to see what reports look like without a phone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.demo.world import DEFAULT_NIGHTS
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson

if TYPE_CHECKING:
    from harness.bench.demo.events import PlantedEvent

DEFAULT_SEED = 7


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; it must not hold results.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed, the same records.")] = DEFAULT_SEED,
    nights: Annotated[int, typer.Option("--nights", help="How many.")] = DEFAULT_NIGHTS,
    as_json: AsJson = False,
) -> None:
    """Make results of phones that never were: 3 classes, 8 cases, every night, with known changes. Labelled as demo."""
    from harness.bench.demo.store import make_demo

    made = make_demo(folder, seed, nights)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "seed": seed,
                "nights": nights,
                "trials": made.trials,
                "with_telemetry": made.with_telemetry,
                "planted": [_plain(event) for event in made.events],
            }
        )
        return
    rows = [
        (
            event.first.isoformat(),
            "" if event.device is None else event.device.product_type,
            "" if event.case is None else event.case.name,
            event.told.value,
            event.words,
        )
        for event in made.events
    ]
    print_table(("since", "class", "case", "last night", "planted"), rows, whole=("since",))
    talk(f"{made.trials} trials of {nights} nights, none of them measured; see them: harness report --results {folder}")


def _plain(event: PlantedEvent) -> dict[str, Any]:
    return {
        "name": event.name,
        "kind": event.plant.value,
        "words": event.words,
        "since": event.first.isoformat(),
        "until": event.last.isoformat(),
        "told": event.told.value,
        "device_product_type": None if event.device is None else event.device.product_type,
        "case": None if event.case is None else event.case.name,
        "verdicts": {series: kind.value for series, kind in event.verdicts.items()},
    }

"""`harness models …`: synthetic models to try the harness with, and the verbs of the files beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import print_json
from harness.cli.models_fetch import fetch_models
from harness.cli.models_inspect import inspect_file
from harness.cli.run_display import RunDisplay
from harness.core.errors import UsageError

app = typer.Typer(help="Model files.", no_args_is_help=True, rich_markup_mode=None)
app.command("inspect")(inspect_file)
app.command("fetch")(fetch_models)


@app.callback()
def models() -> None:
    """Model files."""


@app.command("make")
def make_model(
    recipe: Annotated[str, typer.Argument(help="tiny, wide, … (a wrong name lists them)")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to; default: <recipe>.task here.")] = None,
) -> None:
    """Make a synthetic model: Llama-shaped, random weights, the same bytes every time."""
    from harness.bench.synth import RECIPES, make

    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
    target = out or Path(f"{recipe}.task")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}; make it, or choose another --out")
    with RunDisplay() as display:
        made = make(RECIPES[recipe], target, lambda done, total: display.step(f"make {recipe}", done, total))
    print_json({"path": str(made.path), "bytes": made.bytes, "sha256": made.sha256})

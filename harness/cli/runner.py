"""`harness runner build`: the runner app as an IPA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import print_json

app = typer.Typer(help="The runner app.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def runner() -> None:
    """The runner app."""


@app.command("build")
def build(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the IPA; made if need be.")] = Path("build"),
) -> None:
    """Build the Python runner, which a virtual iPhone runs (a physical one needs the Swift app, signed)."""
    from harness.runner.build import build_ipa

    built = build_ipa(out)
    print_json({"path": str(built.path), "bundle_id": built.bundle_id, "build": built.build, "version": built.version})

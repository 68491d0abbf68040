"""`harness runner build` and `show`: the runner app as an IPA."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import print_json, talk
from harness.core.errors import UsageError
from harness.core.job import Variant

if TYPE_CHECKING:
    from harness.runner.bundle import BuiltRunner

app = typer.Typer(help="The runner app.", no_args_is_help=True, rich_markup_mode=None)


class Edition(StrEnum):
    AUTO = "auto"
    SWIFT = "swift"
    PYTHON = "python"


@app.callback()
def runner() -> None:
    """The runner app."""


@app.command("build")
def build(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the IPA; made if need be.")] = Path("build"),
    edition: Annotated[
        Edition, typer.Option("--edition", help="auto: swift where a Swift toolchain is, else python.")
    ] = Edition.AUTO,
    variant: Annotated[
        Variant, typer.Option("--variant", help="Its entitlements, and so its memory limits.")
    ] = Variant.PLAIN,
    ballast: Annotated[
        str | None,
        typer.Option(
            "--ballast",
            metavar="SIZE",
            help="Memory that the app occupies on purpose, as 6MiB: to see whether a comparison notices. Python only.",
        ),
    ] = None,
) -> None:
    """Build the runner that a virtual iPhone runs (a physical one needs the Swift app, built by Xcode and signed)."""
    from harness.runner.build import build_ipa
    from harness.runner.build_swift import build_swift_ipa
    from harness.runner.package import swift_cache
    from harness.runner.source import head_commit

    ballast_bytes = _ballast(ballast)
    if ballast_bytes and edition is Edition.SWIFT:
        raise UsageError(
            "--ballast: only the Python runner carries one; what it is for, an alarm seen to go off, needs no phone. "
            "Take --edition python"
        )
    commit = head_commit()
    built: BuiltRunner
    if not ballast_bytes and (edition is Edition.SWIFT or (edition is Edition.AUTO and shutil.which("swift"))):
        built = build_swift_ipa(out, swift_cache(), variant=variant, commit=commit, step=_tell)
    else:
        built = build_ipa(out, variant=variant, commit=commit, ballast_bytes=ballast_bytes)
    print_json({**asdict(built), "path": str(built.path)})


@app.command("show")
def show(
    ipa: Annotated[Path, typer.Argument(metavar="RUNNER.ipa", help="A runner app, of any edition.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Tell what an IPA says of itself: edition, platform, variant, engines, entitlements, commit."""
    from harness.runner.package import show_ipa

    facts = asdict(show_ipa(ipa))
    if as_json:
        print_json(facts)
        return
    facts["engines"] = ", ".join(f"{name} {version}" for name, version in facts["engines"].items())
    facts["entitlements"] = ", ".join(name for name, granted in facts["entitlements"].items() if granted is not False)
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' '):<13} {value or '-'}")


def _ballast(text: str | None) -> int:
    from harness.core.units import UnitError, parse_bytes

    try:
        return 0 if text is None else parse_bytes(text)
    except UnitError as error:
        raise UsageError(f"--ballast: {error}") from None


def _tell(what: str, done: int, total: int) -> None:
    if not done:
        talk(f"{what} (about a minute)")

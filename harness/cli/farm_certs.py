"""`harness farm certs …`: the farm's small CA, and a certificate for each machine and person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson

USUAL_FOLDER = "~/.config/iphone-load-harness/farm"
"""As it is written on another machine; what this one's user or environment says is not true of that one."""
USUAL_FOLDER_MACOS = "'~/Library/Application Support/iphone-load-harness/farm'"
app = typer.Typer(
    help="Certificates of a farm: who has one can run anything on its hosts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The CA's folder: keep it on one machine.")]


@app.command("init")
def init(folder: Folder) -> None:
    """Make the farm's certificate authority: ca.pem, and ca.key, which stays where it is."""
    from harness.farm.certs import CA_KEY_NAME, make_ca

    typer.echo(make_ca(folder))
    talk(
        f"keep {folder / CA_KEY_NAME} to yourself; next: harness farm certs issue {folder} --name HOST, for the hub, "
        "each host and each person"
    )


@app.command("issue")
def issue_certificate(
    folder: Folder,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the machine, or the person.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the three files go; without it FOLDER/NAME.")
    ] = None,
) -> None:
    """Make a member's three files: ca.pem, cert.pem, key.pem; good for two years."""
    from harness.farm.address import CERTS_VARIABLE
    from harness.farm.certs import issue

    made = issue(folder, name, out)
    typer.echo(made.certificate.parent)
    talk(
        f"bring the folder to {name} as {USUAL_FOLDER} of whoever uses it there (macOS: {USUAL_FOLDER_MACOS}), or name "
        f"it with --certs or {CERTS_VARIABLE}; the key is nobody else's"
    )


@app.command("show")
def show_certificates(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Of a CA or a member; without it this machine's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell whose certificates these are, until when they are good, and what is wrong with them."""
    from harness.farm.address import default_certs_folder
    from harness.farm.certs import show

    found = show(default_certs_folder() if folder is None else folder)
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "file": one.file,
                    "is_ca": one.is_ca,
                    "until": one.until.isoformat(),
                    "fingerprint": one.fingerprint,
                    "problem": one.problem,
                }
                for one in found
            ]
        )
        return
    rows = [
        (one.file.name, one.name, f"{one.until:%Y-%m-%d}", one.fingerprint[:16], one.problem or "good") for one in found
    ]
    print_table(("File", "Name", "Good until", "Fingerprint", "State"), rows, whole=("Fingerprint",))

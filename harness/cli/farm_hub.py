"""`harness farm hub`: gives trials to phones, and keeps what comes home, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import talk
from harness.cli.flags import CertsFolder, ResultsText
from harness.store.address import DEFAULT_FOLDER, parse_results


def hub(
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="Where it is to be reached: tls://ADDRESS[:PORT].")
    ] = "tls://0.0.0.0:8786",
    certs: CertsFolder = None,
    results_text: ResultsText = DEFAULT_FOLDER,
) -> None:
    """Be the farm's hub: hosts join it, people submit suites to it, all records are kept here. See docs/farm.md."""
    from harness.farm.address import certificates_in, default_certs_folder, parse_address

    address = parse_address(listen, "--listen")
    results = parse_results(results_text)
    certificates = None
    if address.scheme == "tls":
        certificates = certificates_in(certs if certs is not None else default_certs_folder())
        _tell_problems(certificates.certificate.parent)

    from harness.farm.hub.hub import EVERYWHERE, HubOptions, serve

    def ready(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        if address.host in EVERYWHERE:
            talk(f"listening on every interface, port {address.port}: {text}, or any other name of this machine")
        talk(f"results: {results.text}; on each host: harness farm join {text} --device all; Ctrl-C ends it")

    asyncio.run(serve(HubOptions(results, address, certificates), talk, ready))


def _tell_problems(folder: Path) -> None:
    from harness.farm.certs import show

    for one in show(folder):
        if one.problem is not None:
            talk(f"{one.file}: {one.problem}")

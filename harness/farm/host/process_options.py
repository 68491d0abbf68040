"""What a phone's process is told at its start: one line of JSON on its standard input, from the host that starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.farm.address import Certificates, FarmAddress, parse_address
from harness.farm.wire import Name, Text, Wire

EXIT_USAGE = 2
"""Of a phone's process that can never be started as it was told; any other end is followed by another try."""


class ProcessOptions(Wire):
    hub: Text
    certificates: tuple[Text, Text, Text] | None = None
    """Paths of the CA, of our certificate and of its key."""
    host: Name
    """As the farm calls this machine."""
    word: Text
    """The phone: a UDID, or `virtual:…`."""
    spool: Text
    """The host's own results folder."""
    runner: Annotated[tuple[Text, ...], Field(max_length=8)] = ("auto",)
    """Of this host, where a run does not bring its own."""
    transport: Text = "auto"
    usb_cycle: Annotated[tuple[Text, ...], Field(max_length=64)] = ()
    """Program and arguments that switch a phone's USB port off and on; see `usb_cycle.py`."""
    file_store: Text = ""
    """URL where files of trials go; empty: to the hub."""
    own_paths: bool = False
    """Client, hub and host are one machine and one user, so a run may name files by their paths."""

    @property
    def address(self) -> FarmAddress:
        return parse_address(self.hub)

    @property
    def certificate_files(self) -> Certificates | None:
        if self.certificates is None:
            return None
        return Certificates(*map(Path, self.certificates))


def certificate_paths(certificates: Certificates | None) -> tuple[str, str, str] | None:
    """As `ProcessOptions` has them."""
    if certificates is None:
        return None
    return str(certificates.ca), str(certificates.certificate), str(certificates.key)

"""Where a hub is, and the files by which its members know each other.

    tls://hub.example:8786        mutual TLS: both ends show a certificate of the farm's own CA
    tcp://127.0.0.1:8786          without any: on the loopback interface only

May know files; no connection is made here, and Dask is not imported.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import platformdirs

from harness.core.errors import UsageError

DEFAULT_PORT = 8786
CERTS_VARIABLE = "IPHONE_LOAD_HARNESS_FARM"
"""Names the folder of this machine's certificate, where no `--certs` does."""
CA_NAME, CERTIFICATE_NAME, KEY_NAME = "ca.pem", "cert.pem", "key.pem"
FORMS = f"tls://host[:{DEFAULT_PORT}], or tcp://127.0.0.1[:{DEFAULT_PORT}] on one machine"
_ADDRESS = re.compile(
    r"(?P<scheme>tls|tcp)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253})(:(?P<port>\d{1,5}))?\Z"
)


@dataclass(frozen=True)
class FarmAddress:
    scheme: str
    host: str
    """A name or an IP address; an IPv6 one without its brackets."""
    port: int

    @property
    def text(self) -> str:
        """As Dask and people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be meant."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True)
class Certificates:
    """Of one member of a farm; all three files are there, and nobody else can read the key."""

    ca: Path
    certificate: Path
    key: Path


def parse_address(text: str, flag: str = "--farm") -> FarmAddress:
    """What a flag says. Raises UsageError for another form, and for `tcp://` to anywhere but this machine."""
    match = _ADDRESS.match(text.strip())
    if match is None:
        raise UsageError(f"{flag}={text[:200]}: not the address of a hub; it is {FORMS}")
    port = int(match["port"] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise UsageError(f"{flag}={text[:200]}: {port} is no port; 1 to 65535")
    address = FarmAddress(match["scheme"], match["host"].strip("[]"), port)
    if address.scheme == "tcp" and not address.is_loopback:
        raise UsageError(
            f"{flag}={text[:200]}: tcp:// is refused off the loopback interface, for whoever reaches a hub can run "
            "anything on its hosts: make certificates (harness farm certs) and use tls://"
        )
    return address


def default_certs_folder() -> Path:
    """What `IPHONE_LOAD_HARNESS_FARM` names, or `farm` in the user's configuration."""
    named = os.environ.get(CERTS_VARIABLE)
    return Path(named) if named else platformdirs.user_config_path("iphone-load-harness") / "farm"


def certificates_in(folder: Path) -> Certificates:
    """Those of this machine.

    Raises UsageError when a file is not there, others may read the key, or another user could change any of them.
    """
    found = Certificates(folder / CA_NAME, folder / CERTIFICATE_NAME, folder / KEY_NAME)
    missing = [path.name for path in (found.ca, found.certificate, found.key) if not path.is_file()]
    if missing:
        raise UsageError(
            f"{folder}: no {', '.join(missing)}; `harness farm certs issue` makes the three files of a machine, "
            f"--certs or {CERTS_VARIABLE} names their folder"
        )
    if found.key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{found.key}: others can read this key; chmod 600 {found.key}")
    for path in (folder, found.ca, found.certificate, found.key):
        _check_ours(path)
    return found


def _check_ours(path: Path) -> None:
    """Whoever can put another CA there can run anything here."""
    status = path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise UsageError(
            f"{path}: belongs to another user of this machine, who could change it; make a copy of your own"
        )
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        raise UsageError(f"{path}: others can write to it; chmod go-w {path}")

"""What the holder of a host's lock writes into its file about itself, for people who wait for it.

Whoever can write into the folder of the locks can write anything: the text is bounded, checked, and printable before
anybody sees it, and nothing is decided by it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_HOLDER_BYTES = 4096
PS_LIMIT_S = 2.0
MAX_USER, MAX_HOST, MAX_PURPOSE = 64, 255, 200
"""Characters."""


class Holder(BaseModel):
    """What the holder of a lock says of itself; only as true as whoever wrote it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    user: str = Field(min_length=1, max_length=MAX_USER)
    uid: int = Field(ge=0, lt=2**32)
    pid: int = Field(gt=0, lt=2**31)
    started: str | None = Field(default=None, max_length=40)
    """When the process began (UTC, ISO 8601); None where the system does not tell."""
    host: str = Field(max_length=MAX_HOST)
    since: str = Field(max_length=40)
    """When the lock was taken (UTC, ISO 8601)."""
    purpose: str = Field(max_length=MAX_PURPOSE)

    @property
    def text(self) -> str:
        """`ann (pid 4711, harness run) since 2026-11-22 18:20 UTC`, safe to print."""
        try:
            since = f"{datetime.fromisoformat(self.since).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        except (ValueError, OverflowError):
            since = "a time it does not tell"
        process = f"pid {self.pid}" if self.host == socket.gethostname() else f"pid {self.pid} on {self.host}"
        purpose = f", {self.purpose}" if self.purpose else ""
        return _printable(f"{self.user} ({process}{purpose}) since {since}")


def read_holder(descriptor: int) -> Holder | None:
    """What the file says; None when it is empty or makes no sense."""
    data = os.pread(descriptor, MAX_HOLDER_BYTES, 0)
    try:
        return Holder.model_validate_json(data)
    except ValidationError:
        return None


def write_holder(descriptor: int, purpose: str) -> None:
    """Replaces the file's text by what this process is."""
    holder = Holder(
        user=_user()[:MAX_USER],
        uid=os.getuid(),
        pid=os.getpid(),
        started=_process_start(),
        host=socket.gethostname()[:MAX_HOST],
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        purpose=_printable(purpose)[:MAX_PURPOSE],
    )
    # on a full disk the lock is as good, only nobody is told whose it is
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.model_dump_json().encode() + b"\n", 0)


def _user() -> str:
    """By the uid and not by the environment, which anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name or str(os.getuid())
    except KeyError:
        return str(os.getuid())


def _process_start() -> str | None:
    """When this process began (UTC, ISO 8601); None where the system does not tell."""
    try:
        if platform.system() == "Linux":
            # field 22 of proc_pid_stat(5), in clock ticks since boot; the name before it may have spaces
            fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            uptime_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
            age_s = uptime_s - int(fields[19]) / os.sysconf("SC_CLK_TCK")
            began = datetime.now(UTC).timestamp() - age_s
            return datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds")
        told = subprocess.run(  # a fixed path and fixed words
            ["/bin/ps", "-o", "lstart=", "-p", str(os.getpid())],
            capture_output=True, text=True, timeout=PS_LIMIT_S, check=True, env={"LC_ALL": "C"},
        ).stdout.strip()  # fmt: skip  # one option a line would hide the command
        began_at = datetime.strptime(told, "%a %b %d %H:%M:%S %Y").astimezone()
        return began_at.astimezone(UTC).isoformat(timespec="seconds")
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def _printable(text: str) -> str:
    """Without anything that moves a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)

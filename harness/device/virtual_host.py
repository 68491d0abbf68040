"""Starts a virtual iPhone as a process of its own; from then on it is a phone behind a usbmuxd address.

The process holds a pipe to us as its standard input: it ends when we do, even when we are killed.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.core.errors import DeviceError, UsageError
from harness.core.phone import Virtual

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
# exit status of wrong arguments, as argparse and Typer have it
_WRONG_USE = 2


@dataclass(frozen=True)
class RunningVirtualPhone:
    udid: str
    usbmux_address: str
    home: Path
    pid: int


@contextmanager
def running_virtual_phone(word: Virtual, home: Path | None = None) -> Iterator[RunningVirtualPhone]:
    """A virtual iPhone for the length of the `with`. Raises UsageError for a wrong profile or setting."""
    command = [sys.executable, "-m", "harness.virtual", "--die-with-parent", "--profile", word.profile]
    for key, value in word.settings.items():
        command += ["--set", f"{key}={value}"]
    if home is not None:
        command += ["--home", str(home)]
    # its complaints go to a file: a pipe that nobody reads would stop it once full
    with tempfile.TemporaryFile(mode="w+") as complaints:
        # a session of its own: Ctrl-C is for us, the phone must live on until its app has been ended
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        )
        try:
            yield _ready(process, word, complaints)
        finally:
            _stop(process)


def _ready(process: subprocess.Popen[str], word: Virtual, complaints: IO[str]) -> RunningVirtualPhone:
    assert process.stdout is not None
    answered, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
    line = process.stdout.readline() if answered else ""
    if line:
        ready = json.loads(line)
        return RunningVirtualPhone(ready["udid"], ready["usbmux"], Path(ready["home"]), ready["pid"])
    if not answered:
        raise DeviceError(f"the virtual iPhone {word.profile} was not ready within {START_LIMIT_S:g} s")
    process.wait(STOP_LIMIT_S)
    complaints.seek(0)
    said = complaints.read().strip().splitlines()
    text = said[-1] if said else "it said nothing"
    if process.returncode == _WRONG_USE:
        raise UsageError(f"virtual iPhone {word.profile}: {text}")
    raise DeviceError(f"the virtual iPhone {word.profile} did not start: {text}")


def _stop(process: subprocess.Popen[str]) -> None:
    """Closing its standard input asks it to end; one that does not is killed."""
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

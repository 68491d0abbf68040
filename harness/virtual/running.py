"""A virtual phone as a child process: start it, put hands on it through its control socket, end it.

For tests, the command line and whoever else needs a phone of their own; a phone started here ends with its starter.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.virtual import unix_socket

START_LIMIT_S = 30.0
ANSWER_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0


class PhoneDidNotStart(Exception):
    """The child ended, or said nothing sensible, before the phone could be reached; the message is its own."""


class ControlRefused(Exception):
    """The phone would not do what the control socket was asked; the message is the phone's."""


@dataclass
class RunningPhone:
    """A phone that can be reached at `usbmux`. A context manager: leaving it ends the phone."""

    usbmux: str
    udid: str
    home: Path
    pid: int
    profile: str
    process: subprocess.Popen[bytes]
    # all phones of the process, this one first: udid, home and profile of each
    phones: Sequence[Mapping[str, str]] = ()

    def other(self, index: int) -> RunningPhone:
        """Another phone of the same process, by its place in `phones`; ending either ends both."""
        row = self.phones[index]
        return replace(self, udid=row["udid"], home=Path(row["home"]), profile=row["profile"])

    def control(self, do: str, **words: object) -> dict[str, Any]:
        """One request to the control socket (see `harness.virtual.usecases`); ControlRefused when it says no."""
        with unix_socket.connect(self.home / "control.sock", ANSWER_LIMIT_S) as connection:
            connection.sendall(json.dumps({"do": do, **words}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        if not answer.pop("ok"):
            raise ControlRefused(str(answer.get("error")))
        return answer

    def truth(self) -> list[dict[str, Any]]:
        """The truth log: what really happened to every app process, in order."""
        log = self.home / "log" / "processes.ndjson"
        return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []

    def stop(self) -> int:
        """Ends the phone and returns its exit code; kills it when it does not end by itself."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> RunningPhone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_phone(
    profile: str = "iphone-16-pro",
    settings: Mapping[str, str] | None = None,
    *,
    home: Path | None = None,
    options: Sequence[str] = (),
) -> RunningPhone:
    """Starts `python -m harness.virtual` and returns once it can be reached; PhoneDidNotStart otherwise.

    `settings` are those of `--set`; `options` are passed on as they are. Its log goes to this process's stderr.
    """
    command = [sys.executable, "-m", "harness.virtual", "--profile", profile, "--die-with-parent", *options]
    for key, value in (settings or {}).items():
        command += ["--set", f"{key}={value}"]
    if home is not None:
        command += ["--home", str(home)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
        line = process.stdout.readline() if readable else b""
        if not line:
            raise PhoneDidNotStart(f"it said nothing within {START_LIMIT_S:.0f} s; exit code {process.poll()}")
        said = json.loads(line)
        return RunningPhone(
            said["usbmux"],
            said["udid"],
            Path(said["home"]),
            int(said["pid"]),
            said["profile"],
            process,
            said["phones"],
        )
    except BaseException as error:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        if isinstance(error, (ValueError, KeyError)):
            raise PhoneDidNotStart(f"it said {line[:200]!r} instead of its address") from error
        raise

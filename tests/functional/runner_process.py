"""Starts a built runner app as a phone would and speaks the wire language to it, without the product's own client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_S = 180.0
"""Nothing in these tests takes that long; a wait beyond it is a failure."""

Event = dict[str, Any]


def unpack(ipa: Path, into: Path) -> Path:
    """Unpack an IPA as an installer would and return the bundle's executable."""
    with zipfile.ZipFile(ipa) as archive:
        archive.extractall(into)
        for entry in archive.infolist():
            (into / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    return into / "Payload" / "Runner.app" / "Runner"


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """One connection to the app: raw lines out, decoded events in."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self._file = self._socket.makefile("rb")
        self.seen: list[Event] = []

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send_raw(self, line: bytes) -> None:
        self.send_raw_bytes(line + b"\n")

    def send_raw_bytes(self, data: bytes) -> None:
        """Bytes that need be no line."""
        self._socket.sendall(data)

    def send(self, cmd: str, **fields: object) -> None:
        self.send_raw(json.dumps({"cmd": cmd, **fields}).encode())

    def events(self) -> Iterator[Event]:
        """Events until the app closes the connection."""
        for line in self._file:
            event = json.loads(line)
            self.seen.append(event)
            yield event

    def until(self, *names: str, where: Callable[[Event], bool] = lambda _: True) -> Event:
        """Read up to the first event of one of these names."""
        deadline = time.monotonic() + LIMIT_S  # heartbeats come for ever
        for event in self.events():
            if event["ev"] in names and where(event):
                return event
            if time.monotonic() > deadline:
                raise AssertionError(f"no {names} within {LIMIT_S:.0f} s; last: {self.seen[-3:]}")
        raise AssertionError(f"the app closed the connection before {names}; last: {self.seen[-3:]}")

    def ask(self, cmd: str, answer: str, **fields: object) -> Event:
        """Send a command and read up to its answer."""
        self.send(cmd, **fields)
        return self.until(answer)

    def load(self, trial: str, job: Event) -> Event:
        """Run a trial to its result or error."""
        self.send("run", trial=trial, job=job)
        return self.until("result", "error")


class RunnerProcess:
    """A running app with its data container."""

    def __init__(self, process: subprocess.Popen[bytes], home: Path, port: int) -> None:
        self.process = process
        self.home = home
        self.port = port

    def connect(self) -> Host:
        """Connect as soon as the app listens."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                return Host(self.port)
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def journal(self, trial: str) -> list[Event]:
        """The events of a trial's journal that are whole."""
        data = (self.home / "Documents" / "trials" / f"{trial}.ndjson").read_bytes()
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT_S)


@contextmanager
def launched(executable: Path, home: Path, **environment: str) -> Iterator[RunnerProcess]:
    """Launch the app with a phone's bare environment; it does not outlive the block."""
    (home / "Documents").mkdir(parents=True, exist_ok=True)
    port = free_port()
    process = subprocess.Popen(
        [executable],
        cwd=home,
        env={"PATH": os.defpath, "HOME": str(home), "RUNNER_PORT": str(port), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield RunnerProcess(process, home, port)
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_S)

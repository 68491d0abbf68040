"""Clients that know nothing of this project can't tell: each command of `commands.py`, and the table of the docs.

`UPDATE_DOCS=1 pytest tests/foreign` writes the table of docs/virtual-iphone.md from what was seen.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.running import RunningPhone, start_phone
from tests.foreign.commands import COMMANDS, Command
from tests.functional.app_packages import build_ipa

BUNDLE = "com.example.probe"
# says something ten times a second, so that logs have something to show
SCRIPT = "#!/bin/sh\nwhile :; do echo probe says hello >&2; sleep 0.1; done\n"
LIMIT_S = 90.0
# tidevice makes the queue of an answer twice when the one who waits and the one who reads come at once
# (`_reply_queues`, a defaultdict); the answer is in the one that nobody waits at. Its fault, not the phone's: once more
LOST_BY_TIDEVICE = "ServiceError: wait reply timeout"
ATTEMPTS = 3
# each iOS of the commands on a phone that had it
PROFILES = {"18.5": "iphone-16-pro", "16.7": "iphone-13"}
DOCUMENT = Path("docs/virtual-iphone.md")
BEGIN, END = "<!-- foreign clients: begin -->", "<!-- foreign clients: end -->"

seen: dict[Command, bool] = {}


def where_is(program: str) -> str | None:
    """Beside this interpreter first: the clients that came with this project's environment."""
    return shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_ipa(tmp_path_factory.mktemp("ipa"), SCRIPT)


@pytest.fixture(scope="module")
def phones(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[dict[str, RunningPhone]]:
    """A phone for each iOS that the commands name; paired and with the app, so that their order does not matter."""
    home = tmp_path_factory.mktemp("host")
    os.environ["HOME"], former = str(home), os.environ.get("HOME", "")
    running: dict[str, RunningPhone] = {}
    try:
        for ios in sorted({command.ios for command in COMMANDS}):
            phone = start_phone(PROFILES[ios], settings={"ios": ios}, home=tmp_path_factory.mktemp("phone"))
            running[ios] = phone
            install = [where_is("pymobiledevice3") or "", "apps", "install", str(package)]
            subprocess.run(install, env=environment(phone), check=True, capture_output=True, timeout=LIMIT_S)
        yield running
    finally:
        for phone in running.values():
            phone.stop()
        os.environ["HOME"] = former


def environment(phone: RunningPhone) -> dict[str, str]:
    return {**os.environ, "USBMUXD_SOCKET_ADDRESS": phone.usbmux, "NO_COLOR": "1", "COLUMNS": "200"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.line}-{command.ios}")
def test_command(command: Command, phones: dict[str, RunningPhone], package: Path, tmp_path: Path) -> None:
    program = where_is(command.line.split()[0])
    if program is None:
        pytest.skip(f"{command.line.split()[0]} is not installed ({command.client})")
    if command.line.startswith("ifuse") and not os.access("/dev/fuse", os.W_OK):
        pytest.skip("no FUSE on this machine")
    phone = phones[command.ios]
    given = tmp_path / "given.txt"
    given.write_text("hello")
    pid = phone.control("launch", bundle_id=BUNDLE)["pid"] if command.launch else 0
    folder = tmp_path / "folder"
    folder.mkdir()
    fill = {
        "udid": phone.udid, "address": phone.usbmux, "ipa": str(package), "bundle": BUNDLE, "folder": str(folder),
        "file": str(given), "pid": str(pid), "port": str(free_port()),
    }  # fmt: skip  # a word a line says no more
    arguments = [program, *(word.format(**fill) for word in shlex.split(command.line)[1:])]
    pattern = command.says.replace("{udid}", re.escape(phone.udid)).replace("{bundle}", re.escape(BUNDLE))
    try:
        for _ in range(ATTEMPTS):
            said, code = run(arguments, environment(phone), pattern if command.stream else None)
            if LOST_BY_TIDEVICE not in said:
                break
    finally:
        if program.endswith("ifuse"):
            subprocess.run(["fusermount", "-u", str(folder)], check=False, capture_output=True)
    assert re.search(pattern, said), said
    if command.verdict == "works" and not command.stream:
        assert code == 0, said
    seen[command] = True


def run(arguments: list[str], environ: dict[str, str], until: str | None) -> tuple[str, int]:
    """Output and exit code; with `until`, ends the client once its output matches."""
    with subprocess.Popen(
        arguments, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        said, deadline = b"", time.monotonic() + LIMIT_S
        while True:
            piece = process.stdout.read()
            said += piece or b""
            text = said.decode(errors="replace")
            ended = process.poll() is not None and not piece
            if ended or time.monotonic() > deadline or (until is not None and re.search(until, text)):
                break
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGINT if until is not None else signal.SIGKILL)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        return text, process.wait()


def table() -> str:
    rows = ["| client | command | result |", "|---|---|---|"]
    rows += [f"| {command.client} | `{command.line}`, iOS {command.ios} | {command.verdict} |" for command in COMMANDS]
    return "\n".join(rows)


def test_the_table_of_the_docs_is_what_was_seen() -> None:
    missing = [command.name for command in COMMANDS if command not in seen]
    if missing:
        pytest.skip(f"not run here: {len(missing)} of {len(COMMANDS)} commands")
    text = DOCUMENT.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    current = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(current)
    assert text == current or os.environ.get("UPDATE_DOCS"), "run with UPDATE_DOCS=1 and look at the difference"

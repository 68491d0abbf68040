"""Machines that this one makes for a test: network namespaces on one switch, each with an address and a home.

    with farm_network(folder, ["hub", "host1", "host2"]) as network:
        network["host1"].start(*harness("farm", "join", ...))
        network["host2"].cut()

All share the file system and the processors; what differs is the network, the home folders and the locks. The switch
is in the first machine's namespace; a cut is made at its port, so a machine behind it keeps its own address, and what
it sends goes nowhere, as with a pulled cable.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

COMMAND_LIMIT_S = 120.0
END_LIMIT_S = 30.0
POLL_S = 0.05
LOG_SHOWN_CHARS = 10_000
_SWITCH = "switch"
_WIRE = "wire"
"""A machine's own end of its cable."""
_FIRST_ADDRESS = 11
_numbers = itertools.count(1)


class NotAllowed(Exception):
    """This machine makes no networks for us; the text says why, for the one who reads why a test was skipped."""


class Place:
    """Where a member of a farm lives: this machine's own network, and a home of its own. A context manager."""

    address = "127.0.0.1"

    def __init__(self, folder: Path, shared: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = {**os.environ, **home_of(folder), **shared}
        self.environment.pop("USBMUXD_SOCKET_ADDRESS", None)
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, *command: object, log: str | None = None) -> subprocess.Popen[str]:
        """Starts it there. What it says on either output goes to the file `log` of the folder, else to pipes."""
        words = [*self._way_in(), *map(str, command)]
        if log is None:
            process = self._popen(words, subprocess.PIPE, subprocess.PIPE)
        else:
            with (self.folder / log).open("a") as file:
                process = self._popen(words, file.fileno(), subprocess.STDOUT)
        self._started.append(process)
        return process

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Runs it there to its end; its exit code is for the caller to judge."""
        process = self.start(*command)
        said, complained = process.communicate(timeout=COMMAND_LIMIT_S)
        return subprocess.CompletedProcess([*map(str, command)], process.returncode, said, complained)

    def log(self, name: str) -> str:
        """What was said into a log; empty when nobody has begun to."""
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def show_logs(self) -> None:
        """Prints their ends: of a test that fails, pytest shows them."""
        for path in sorted(self.folder.glob("*.log")):
            print(f"--- {path.parent.name}/{path.name}\n{self.log(path.name)[-LOG_SHOWN_CHARS:]}")

    def end(self) -> None:
        """What was started there: with SIGTERM, and after a while without mercy."""
        deadline = time.monotonic() + END_LIMIT_S
        # the newest first, and one after another: a host that leaves tells the hub
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self._end_what_is_left()
        for process in self._started:
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _end_what_is_left(self) -> None:
        for process in self._started:
            process.kill()

    def _way_in(self) -> Sequence[str]:
        return []

    def _popen(self, words: list[str], output: int, errors: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            text=True,
            # what is sent to it is meant for it alone
            start_new_session=True,
        )


class Machine(Place):
    """A namespace on the switch; `farm_network` makes it."""

    def __init__(self, name: str, namespace: str, address: str, switch: str, folder: Path, shared: Mapping[str, str]):
        super().__init__(folder, shared)
        self.name = name
        self.namespace = namespace
        self.address = address
        self._switch = switch

    def cut(self) -> None:
        """Pulls the machine's cable out of the switch."""
        _ip("-n", self._switch, "link", "set", _port_of(self.name), "down")

    def restore(self) -> None:
        """And puts it back."""
        _ip("-n", self._switch, "link", "set", _port_of(self.name), "up")

    def pids(self) -> list[int]:
        """Of all that runs there, whoever started it."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def _way_in(self) -> Sequence[str]:
        return ["ip", "netns", "exec", self.namespace]

    def _end_what_is_left(self) -> None:
        while left := self.pids():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)


def harness(*words: object) -> list[str]:
    """The command line of a verb of this very program."""
    return [sys.executable, "-m", "harness.cli", *map(str, words)]


def free_port() -> int:
    """One of the loopback interface that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def home_of(folder: Path) -> dict[str, str]:
    """Variables by which a process believes that it is on a machine, and of a user, of its own."""
    named = {
        "HOME": folder / "home",
        "XDG_STATE_HOME": folder / "state",
        "XDG_CACHE_HOME": folder / "cache",
        "XDG_CONFIG_HOME": folder / "config",
        "IPHONE_LOAD_HARNESS_LOCKS": folder / "locks",
    }
    for path in named.values():
        path.mkdir(parents=True, exist_ok=True)
    return {name: str(path) for name, path in named.items()}


@contextmanager
def farm_network(folder: Path, names: Sequence[str], shared: Mapping[str, str]) -> Iterator[dict[str, Machine]]:
    """The machines by name, the first being where the switch is; all is taken away again, even when we are killed.

    `shared` are variables that are the same on all of them. Raises NotAllowed.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotAllowed("network namespaces need Linux and root")
    if shutil.which("ip") is None:
        raise NotAllowed("no `ip` (Debian: apt-get install iproute2)")
    unique = f"farm-{os.getpid()}-{next(_numbers)}"
    spaces = {name: f"{unique}-{name}" for name in names}
    switch = spaces[names[0]]
    machines: dict[str, Machine] = {}
    with _watchman(list(spaces.values())):
        try:
            try:
                _make_switch(spaces, switch)
            except IpRefused as error:
                raise NotAllowed(str(error)) from None
            for number, (name, space) in enumerate(spaces.items()):
                machines[name] = Machine(name, space, _address(number), switch, folder / name, shared)
            yield machines
        finally:
            # the hub last: hosts that leave tell it
            for machine in reversed(machines.values()):
                machine.end()
            for space in spaces.values():
                with contextlib.suppress(IpRefused):
                    _ip("netns", "delete", space)


class IpRefused(Exception):
    """`ip` did not do it; its words are the text."""


def _make_switch(spaces: Mapping[str, str], switch: str) -> None:
    for number, (name, space) in enumerate(spaces.items()):
        _ip("netns", "add", space)
        _ip("-n", space, "link", "set", "lo", "up")
        if space == switch:
            own = _SWITCH
            _ip("-n", space, "link", "add", own, "type", "bridge")
        else:
            port, own = _port_of(name), _WIRE
            _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", own, "netns", space)
            _ip("-n", switch, "link", "set", port, "master", _SWITCH, "up")
        _ip("-n", space, "address", "add", f"{_address(number)}/24", "dev", own)
        _ip("-n", space, "link", "set", own, "up")


def _address(number: int) -> str:
    # the namespaces are shut off from the real network, so any address will do
    return f"10.83.0.{_FIRST_ADDRESS + number}"


def _port_of(name: str) -> str:
    # Linux has 15 characters for it
    return f"to-{name}"[:15]


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
    if done.returncode != 0:
        raise IpRefused(f"`ip {' '.join(words)}`: {done.stderr.strip() or done.returncode}")
    return done.stdout


@contextmanager
def _watchman(spaces: Sequence[str]) -> Iterator[None]:
    """Clears up if this process dies before it does so itself: the watchman's standard input ends with us."""
    clear = """
        read -r word; [ "$word" = ended ] && exit
        for space; do
            for pid in $(ip netns pids "$space"); do kill -9 "$pid"; done
            ip netns delete "$space"
        done
    """
    watching = subprocess.Popen(
        ["/bin/sh", "-c", clear, "watchman", *spaces],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # what ends this process from a terminal must not end the watchman too
        start_new_session=True,
    )
    try:
        yield
    finally:
        watching.communicate(b"ended\n", timeout=END_LIMIT_S)

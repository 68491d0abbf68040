"""A session of several processes, by pytest-xdist: what the processes have to tell each other.

The controller knows which phones are meant, shares the items out, judges, and draws the report. Each worker drives one
phone at a time. What a worker tells goes by files in a folder of the session: its runs, at once, so that those of a
worker that was killed or interrupted are known too (what xdist hands over comes only from one that ends well); and the
group of each of its items (xdist writes that into the items' ids, which pytest 9.2 does not let it do any more).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from harness.core.errors import UsageError

PLUGIN = "load-several"
_WORDS, _FOLDER, _GROUPED = "load_words", "load_folder", "load_grouped"
_RUNS, _GROUPS, _PID, _INTERRUPTED = ".runs", ".groups.json", ".pid", ".interrupted"
# What a worker may take to bring the evidence of an interrupted trial home; xdist itself kills it after 10 s.
CONCLUDE_S = 60.0
_LOOK_S = 0.05
# By then a worker has had the terminal's Ctrl-C, if there was one.
_HEARD_S = 1.0


def asked_for(config: pytest.Config) -> bool:
    """This process is the controller of several; false without xdist."""
    return bool(config.getoption("dist", "no") != "no" and config.getoption("tx", None)) and not is_worker(config)


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def choose_distribution(config: pytest.Config) -> None:
    """Phones want their items together: unless the user chose how to share them out, that is by group."""
    option = config.option
    if getattr(option, "numprocesses", None) and option.dist == "no" and not option.distload:
        option.dist = "loadgroup"


def phones_limit(config: pytest.Config) -> int | None:
    """`--load-phones` or its ini twin; None: not said. UsageError for what is no count, or the flag without `-n`."""
    flag = config.getoption("--load-phones")
    text = str(flag) if flag is not None else config.getini("load_phones")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"load_phones: {text!r} is no number of phones")
    if flag is not None and not asked_for(config) and not is_worker(config):
        raise UsageError(
            f"--load-phones={text}: one process drives one phone; add -n {text} (it comes with pytest-xdist)"
        )
    return int(text)


class Controller:
    """Registered with pytest in the controlling process."""

    def __init__(self, config: pytest.Config, seats: Mapping[str, int]) -> None:
        self._config = config
        self._seats = seats
        self._folder = Path(tempfile.mkdtemp(prefix="load-session-"))
        self._nodes: list[Any] = []

    @property
    def run_ids(self) -> list[str]:
        """Of all workers, so far, by name: a run's name begins with its time."""
        files = sorted(self._folder.glob(f"*{_RUNS}"))
        return sorted(line for file in files for line in file.read_text().splitlines())

    def pytest_report_header(self) -> str:
        phones = ", ".join(f"{count} × {word}" for word, count in self._seats.items())
        workers = len(self._config.option.tx)
        surplus = workers - sum(self._seats.values())
        without = f"; of {workers} workers {surplus} have none and run what needs none" if surplus > 0 else ""
        return f"load phones: {phones}{without}"

    def pytest_configure_node(self, node: Any) -> None:
        grouped = self._config.option.dist == "loadgroup"
        node.workerinput |= {_WORDS: list(self._seats), _FOLDER: str(self._folder), _GROUPED: grouped}
        self._nodes.append(node)

    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> object | None:
        from harness.pytest_plugin.turns import PhoneTurns

        if config.option.dist != "loadgroup":
            return None  # the user's own choice
        return PhoneTurns(config, self._seats, len(config.option.tx), self._groups_of)

    def _groups_of(self, worker_id: str) -> list[str | None]:
        groups: list[str | None] = json.loads((self._folder / f"{worker_id}{_GROUPS}").read_text())
        return groups

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """After Ctrl-C xdist would not wait for the evidence of trials that were under way."""
        if exitstatus != pytest.ExitCode.INTERRUPTED:
            return
        began = time.monotonic()
        unheard = {file.stem for file in self._folder.glob(f"*{_PID}")}
        while any(not node.channel.isclosed() for node in self._nodes if hasattr(node, "channel")):
            waited_s = time.monotonic() - began
            if waited_s > CONCLUDE_S:
                return
            if waited_s > _HEARD_S:
                for name in unheard:
                    self._interrupt(name)
                unheard = set()
            time.sleep(_LOOK_S)

    def _interrupt(self, worker_id: str) -> None:
        """A terminal's Ctrl-C reaches every process, and a second one would end the bringing home; `kill` only us."""
        if not (self._folder / f"{worker_id}{_INTERRUPTED}").exists():
            with suppress(OSError, ValueError):
                os.kill(int((self._folder / f"{worker_id}{_PID}").read_text()), signal.SIGINT)

    def pytest_unconfigure(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True)
class Told:
    """What the controller has told this worker. Registered with pytest in the worker."""

    words: list[str]
    """The device words as the controller has them: what is attached may have changed since."""
    grouped: bool
    """Items are shared out by the group that they belong to."""
    folder: Path
    worker_id: str

    def tell_run(self, run_id: str) -> None:
        """The controller learns of a run of ours."""
        with (self.folder / f"{self.worker_id}{_RUNS}").open("a") as file:
            file.write(f"{run_id}\n")

    def mind_interrupts(self) -> None:
        """The controller can see whether Ctrl-C has reached this worker."""

        def interrupted(number: int, frame: FrameType | None) -> None:
            (self.folder / f"{self.worker_id}{_INTERRUPTED}").touch()
            signal.default_int_handler(number, frame)

        # who has other ideas of it keeps them
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupted)
            (self.folder / f"{self.worker_id}{_PID}").write_text(str(os.getpid()))

    # before xdist tells the controller of the items
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self.grouped:
            groups = [_group_of(item) for item in session.items]
            (self.folder / f"{self.worker_id}{_GROUPS}").write_text(json.dumps(groups))


def _group_of(item: pytest.Item) -> str | None:
    """Of `xdist_group` marks, read as xdist does; None: it has none."""
    marks = item.iter_markers("xdist_group")
    names = {str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in marks}
    return "_".join(sorted(names)) or None


def told(config: pytest.Config) -> Told:
    """Of a worker's configuration; xdist's own command line for a worker is the user's, without our choices."""
    said: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]  # xdist's
    return Told(said[_WORDS], said[_GROUPED], Path(said[_FOLDER]), said["workerid"])

"""A run of a suite that is killed with SIGKILL again and again, and resumed each time, as a person would do it.

The command is in a process of its own, with a virtual phone that lives and ends with it. What must hold afterwards is
said by `Ledger`: every trial has exactly one record that counts, all in one run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.summary import counted, warm_ups, without_replaced
from harness.bench.plan import plan_trials
from harness.bench.suite import load_suite
from harness.core.record import TrialRecord
from harness.store.address import DATABASE_NAME
from harness.store.database import ResultStore

POLL_S = 0.02
PROGRESS_LIMIT_S = 180.0
"""Without a further trial for so long, something is wrong."""
GONE_LIMIT_S = 120.0

SUITE = """
name = "killed"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["cold", "none"]
[options]
trials = {trials}
max_tokens = 64
decode_tokens = 1
sample_hz = 100
hold_ms = {hold_ms}
"""


@dataclass(frozen=True)
class Ledger:
    """What the records of a results folder say of the trials of a suite."""

    runs: int
    counting: Counter[tuple[str, int]]
    """How many records count for each trial."""
    planned: set[tuple[str, int]]
    cut_short: int
    """Records of trials that a kill has cut short; kept, and run again."""
    most_attempts: int

    @property
    def complete(self) -> bool:
        """No trial missing, none twice, none that was not planned, all in one run."""
        return self.runs == 1 and set(self.counting) == self.planned and set(self.counting.values()) == {1}


class KilledRun:
    """Of the suite file that is written into `folder`, whose caches and phone lie there too."""

    def __init__(self, folder: Path, *, trials: int, hold_ms: int = 0, models_cache: Path | None = None) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.suite_file = folder / "killed.toml"
        self.suite_file.write_text(SUITE.format(trials=trials, hold_ms=hold_ms))
        self._environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(models_cache or folder / "cache"),
        }
        self._environment.pop("USBMUXD_SOCKET_ADDRESS", None)

    def start(self) -> subprocess.Popen[str]:
        """`harness run … --resume`, which begins a new run the first time."""
        command = [sys.executable, "-m", "harness.cli", "run", str(self.suite_file), "--device=virtual", "--resume"]
        return subprocess.Popen(
            [*command, f"--results={self.results}"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_after(self, begun: int, further_s: float) -> None:
        """Starts it, and kills it `further_s` after so many trials in all have begun (or its own first has)."""
        process = self.start()
        try:
            already = len(self.trial_ids())
            self._wait(lambda: len(self.trial_ids()) >= max(begun, already + 1), process)
            time.sleep(further_s)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        self.wait_until_gone()

    def finish(self) -> tuple[int, str]:
        """Runs the rest; the exit code, and what was said."""
        process = self.start()
        _, said = process.communicate()
        return process.returncode, said

    def trial_ids(self) -> Sequence[str]:
        if not (self.results / DATABASE_NAME).is_file():
            return []
        with ResultStore.open(self.results) as store:
            return store.trial_ids()

    def records(self) -> list[TrialRecord]:
        with ResultStore.open(self.results) as store:
            return store.trials()

    def ledger(self) -> Ledger:
        with ResultStore.open(self.results) as store:
            frame = store.frame()
        kept = counted(frame)
        assert len(kept) + warm_ups(frame) == len(without_replaced(frame))
        return Ledger(
            runs=frame["run_id"].nunique(),
            counting=Counter(zip(kept["case"], kept["ordinal"], strict=True)),
            planned={(planned.case.name, planned.ordinal) for planned in plan_trials(load_suite(self.suite_file))},
            cut_short=int(frame["cut_short"].sum()),
            most_attempts=int(frame["attempt"].max()),
        )

    def wait_until_gone(self) -> None:
        """Neither the phone nor the app outlives the command; raises when one does."""
        deadline = time.monotonic() + GONE_LIMIT_S
        while left := self._processes():
            if time.monotonic() > deadline:
                raise AssertionError(f"still there: {left}")
            time.sleep(POLL_S)

    def _processes(self) -> list[str]:
        """Command lines of all that was started by the command: they have our folders in arguments or environment."""
        mark, found = str(self.folder / "state").encode(), []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
                except OSError:
                    continue
                if mark in command or mark in environment:
                    found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def _wait(self, condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        known, deadline = len(self.trial_ids()), time.monotonic() + PROGRESS_LIMIT_S
        while not condition():
            assert process.poll() is None, f"it ended by itself with {process.returncode}"
            now = len(self.trial_ids())
            if now > known:
                known, deadline = now, time.monotonic() + PROGRESS_LIMIT_S
            assert time.monotonic() < deadline, "no further trial begins"
            time.sleep(POLL_S)

"""The whole way as a thing to hold: a results folder, a phone's home, and suites run with them.

For tests that ask what a trial's record says; the fixture `bench` (conftest.py) gives one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.bench.conductor import RunResult, run_suite
from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.bench.suite import Suite
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.virtual import unix_socket

ANSWER_LIMIT_S = 120.0


class Watcher(Listener):
    """Notes what it hears, and does something once when a phase begins."""

    def __init__(self, when: str = "", then: Callable[[], object] = lambda: None) -> None:
        self.steps: list[str] = []
        self.phases: list[str] = []
        self._when, self._then = when, then

    def step(self, what: str, done: int, total: int) -> None:
        if what not in self.steps:
            self.steps.append(what)

    def phase(self, name: str) -> None:
        self.phases.append(name)
        if name == self._when:
            self._when = ""
            self._then()

    def trial_begins(self, planned: PlannedTrial, number: int, total: int) -> None: ...


class Bench:
    """A results folder and a phone's home of this test, and a way to run suites with them."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.state = folder / "state"

    def run(
        self,
        model: str = "tiny",
        *,
        settings: dict[str, str] | None = None,
        watcher: Listener | None = None,
        matrix: dict[str, Any] | None = None,
        needs: dict[str, Any] | None = None,
        **options: Any,
    ) -> RunResult:
        suite = Suite.model_validate(
            {
                "name": "test",
                "models": [{"name": model, "synth": model}],
                "matrix": matrix or {},
                "needs": needs or {},
                "options": {"trials": 1, "max_tokens": 128, **options},
            }
        )
        word = Virtual(settings=settings or {})
        return asyncio.run(run_suite(suite, word, self.results, watcher or Listener()))

    def run_suite(self, suite: Suite, watcher: Listener | None = None, *, resume: bool = False) -> RunResult:
        """A suite of the test's own, on a virtual phone as it comes."""
        return asyncio.run(run_suite(suite, Virtual(), self.results, watcher or Listener(), resume=resume))

    def only(self, *args: Any, **more: Any) -> TrialRecord:
        (record,) = self.run(*args, **more).records
        return record

    @property
    def home(self) -> Path:
        return self.state / "iphone-load-harness/virtual/iphone-16-pro/1"

    def ask_phone(self, do: str, **more: Any) -> dict[str, Any]:
        """A hand on the phone, from outside."""
        with unix_socket.connect(self.home / "control.sock", ANSWER_LIMIT_S) as control:
            control.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            with control.makefile() as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        assert answer["ok"], answer
        return answer

    def app_pid(self) -> int:
        return int(self.ask_phone("processes")["processes"][0]["pid"])

    def truth(self, pid: int) -> dict[str, Any]:
        """What the phone's own log says of a process."""
        known: dict[str, Any] = {}
        for line in (self.home / "log/processes.ndjson").read_text().splitlines():
            entry = json.loads(line)
            if entry["pid"] == pid:
                known.update(entry)
        return known

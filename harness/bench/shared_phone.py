"""One open phone for trials of several runs, whose turns a farm decides: each run has apps and labels of its own.

Between trials of two runs the later one follows the earlier (`Conductor.follow`), as in a comparison; the crash reports
that were seen on the phone are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.bench.apps import Apps
from harness.bench.conductor import Conductor
from harness.bench.kept_apps import keep_apps
from harness.bench.labels import Labels
from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.bench.resume import RunAtHand
from harness.bench.run_options import RunOptions
from harness.core.record import TrialRecord
from harness.device.evidence import ReportBook
from harness.device.interface import Transport
from harness.runner.choice import parse_runner
from harness.store.database import ResultStore

MAX_RUNS = 16
"""Whose apps are remembered; one that comes back later looks anew what the phone has."""


@dataclass(frozen=True)
class Turn:
    """A trial of some run."""

    run_id: str
    options: RunOptions
    planned: PlannedTrial
    number: int = 1
    """Of the trial in its run, from 1."""
    total: int = 1


class TrialRefused(Exception):
    """Preflight does not let the trial begin; the text says why."""


class SharedPhone:
    """`transport` is open and stays the caller's to close; records are kept in `store`, with that `host_name`."""

    def __init__(
        self, transport: Transport, store: ResultStore, listener: Listener, host_name: str | None = None
    ) -> None:
        self._transport = transport
        self._store = store
        self._listener = listener
        self._host_name = host_name
        self._book = ReportBook()
        self._conductors: dict[tuple[str, RunOptions], Conductor] = {}
        self._last: Conductor | None = None

    async def run(self, turn: Turn) -> TrialRecord:
        """The trial's record, after the rest that it asks for.

        Raises TrialRefused, UsageError when its app or model is not to be had, BuildError.
        """
        conductor = self._conductor(turn)
        if self._last is not None and self._last is not conductor:
            conductor.follow(self._last)
        self._last = conductor
        refusal = await conductor.preflight_refusal(turn.planned)
        if refusal is not None:
            raise TrialRefused(refusal)
        return await conductor.run_trial(turn.planned, turn.number, turn.total)

    def _conductor(self, turn: Turn) -> Conductor:
        key = (turn.run_id, turn.options)
        # the one used last is the last to be forgotten
        found = self._conductors.pop(key, None) or self._new(turn)
        self._conductors[key] = found
        while len(self._conductors) > MAX_RUNS:
            del self._conductors[next(iter(self._conductors))]
        return found

    def _new(self, turn: Turn) -> Conductor:
        choice = parse_runner(turn.options.runner)
        choice.check((turn.planned.case.variant,))
        options = turn.options
        labels = Labels(turn.run_id, options.build, host_name=self._host_name)
        apps = Apps(
            self._transport, choice, self._store, labels, self._listener,
            keep=options.keep, preflight=options.preflight, book=self._book,
        )  # fmt: skip  # a run's parts, and what it was asked
        apps.choose((turn.planned.case.variant,))
        keep_apps(self._store.folder, apps.chosen, self._listener.note)
        return Conductor(RunAtHand(turn.run_id, ()), self._transport.facts, apps, self._listener)

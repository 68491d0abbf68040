"""Runs a suite on one phone: salvages what an earlier run left open, then trial after trial."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.bench.listener import Listener
from harness.bench.models import LocalModel, locate
from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.run_options import RunOptions
from harness.bench.suite import ModelEntry, Suite
from harness.bench.trial import TrialRunner, new_id
from harness.core.phone import DeviceWord, PhoneFacts, with_settings
from harness.core.record import TrialRecord
from harness.core.telemetry import HostStep
from harness.device.registry import open_phone
from harness.device.session import PhoneSession
from harness.runner.package import choose_runner
from harness.store.database import ResultStore
from harness.store.salvage import salvage

DEFAULTS = RunOptions()


@dataclass(frozen=True)
class RunResult:
    run_id: str
    phone: PhoneFacts
    records: tuple[TrialRecord, ...]

    @property
    def unexpected(self) -> tuple[TrialRecord, ...]:
        """The trials that did not end as the suite expects."""
        return tuple(record for record in self.records if record.outcome != record.expected_outcome)


class Conductor:
    """One phone held open for as many trials as wanted; make one with `open_conductor`."""

    def __init__(self, session: PhoneSession, store: ResultStore, listener: Listener) -> None:
        self.run_id = new_id(datetime.now(UTC))
        self.facts = session.facts
        self._listener = listener
        self._trials = TrialRunner(session, store, self.run_id, listener)
        self._models: dict[ModelEntry, LocalModel] = {}

    async def run_trial(self, planned: PlannedTrial, number: int = 1, total: int = 1) -> TrialRecord:
        """One trial; its model is made or read first."""
        self._listener.trial_begins(planned, number, total)
        entry = planned.case.model
        if entry not in self._models:
            self._models[entry] = locate(entry, self._listener.step)
        record = await self._trials.run(planned, self._models[entry])
        self._listener.trial_ended(planned, record)
        return record

    @property
    def last_steps(self) -> tuple[HostStep, ...]:
        """What the harness did in the last trial, its very last step included."""
        return self._trials.steps.steps(None)

    async def run_trials(self, trials: Sequence[PlannedTrial]) -> RunResult:
        records = [await self.run_trial(planned, number, len(trials)) for number, planned in enumerate(trials, start=1)]
        return RunResult(self.run_id, self.facts, tuple(records))


@asynccontextmanager
async def open_conductor(
    word: DeviceWord, results: Path, listener: Listener, options: RunOptions = DEFAULTS
) -> AsyncIterator[Conductor]:
    """Opens the results (closing what an earlier run left open) and the phone.

    Raises HarnessError's kin when the phone cannot be had or the results folder not be used.
    """
    with ResultStore.open(results) as store:
        for record in salvage(store):
            listener.salvaged(record)
        opening = open_phone(word, transport=options.transport, lease_wait_s=options.lease_wait_s, tell=listener.note)
        async with opening as transport:
            # who the phone is decides which app runs on it
            runner = choose_runner(options.runner, transport.facts.kind, listener.step)
            session = PhoneSession(transport, runner, listener.step, tell=listener.note, keep=options.keep)
            yield Conductor(session, store, listener)


async def run_suite(
    suite: Suite, word: DeviceWord, results: Path, listener: Listener, options: RunOptions = DEFAULTS
) -> RunResult:
    """The whole way once; what a model does to the app is a record, not an exception."""
    word = with_settings(word, suite.virtual)
    async with open_conductor(word, results, listener, options) as conductor:
        return await conductor.run_trials(plan_trials(suite))

"""Runs a suite on one phone: salvages what an earlier run left open, then trial after trial."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

from harness.bench.apps import Apps
from harness.bench.budget import BudgetMeter, duration_words
from harness.bench.kept_apps import keep_apps
from harness.bench.kept_suites import keep_suite
from harness.bench.labels import Labels
from harness.bench.listener import Listener
from harness.bench.models import LocalModel, locate
from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.resume import Resumable, RunAtHand, new_run, resumed_run
from harness.bench.run_note import noted
from harness.bench.run_options import RunOptions
from harness.bench.suite import Budget, ModelEntry, Suite
from harness.bench.trial import TrialRunner
from harness.core.errors import UsageError
from harness.core.job import Variant
from harness.core.phone import DeviceWord, PhoneFacts, with_settings
from harness.core.record import TrialRecord
from harness.core.telemetry import HostStep
from harness.device.errors import StepError
from harness.device.registry import open_phone
from harness.runner.choice import parse_runner
from harness.store.address import Results
from harness.store.database import ResultStore
from harness.store.salvage import salvage

DEFAULTS = RunOptions()

ChooseRun = Callable[[ResultStore, PhoneFacts], AbstractContextManager[RunAtHand]]
"""Which run the trials on that phone belong to."""


def _new_run(store: ResultStore, _facts: PhoneFacts) -> AbstractContextManager[RunAtHand]:
    return new_run(store)


@dataclass(frozen=True)
class NotRun:
    """A trial that the suite's budget left no room for, or whose model was not going to load."""

    planned: PlannedTrial
    reason: str
    by_budget: bool = True
    """Else by preflight."""


@dataclass(frozen=True)
class RunResult:
    run_id: str
    phone: PhoneFacts
    records: tuple[TrialRecord, ...]
    """Of every trial that was run, in order of time; of a run that was resumed, the earlier ones too."""
    not_run: tuple[NotRun, ...] = ()

    @property
    def unexpected(self) -> tuple[TrialRecord, ...]:
        """The trials that did not end as the suite expects. Warm-ups are not counted."""
        return tuple(record for record in self.counted if record.outcome != record.expected_outcome)

    @property
    def over_limits(self) -> tuple[TrialRecord, ...]:
        """The trials whose figures break a limit of the suite."""
        return tuple(record for record in self.counted if record.broken_limits)

    @property
    def counted(self) -> tuple[TrialRecord, ...]:
        """All but the warm-ups."""
        return tuple(record for record in self.records if record.ordinal >= 1)


class Conductor:
    """One phone held open for as many trials as wanted; make one with `open_conductor`."""

    def __init__(self, run: RunAtHand, facts: PhoneFacts, apps: Apps, listener: Listener) -> None:
        self.run = run
        self.run_id = run.run_id
        self.facts = facts
        self._listener = listener
        self._apps = apps
        self._trials: TrialRunner | None = None
        self._models: dict[ModelEntry, LocalModel] = {}
        self._ended_s: float | None = None

    async def run_trial(self, planned: PlannedTrial, number: int = 1, total: int = 1) -> TrialRecord:
        """One trial, after the rest that it asks for; its model is made or read first.

        Raises UsageError when no app given is of its variant, or the app or the model's file is not the one that the
        run began with.
        """
        self._check_app(planned)
        self._trials = self._apps.trials_of(planned.case)
        await self._rest(self._rest_s(planned))
        self._listener.trial_begins(planned, number, total)
        record = await self._trials.run(planned, self._model(planned))
        self._ended_s = asyncio.get_running_loop().time()
        self._listener.trial_ended(planned, record)
        return record

    def follow(self, other: Conductor) -> None:
        """The last trial on this phone was the other's: what is found there, and the rest after it, follow from it."""
        self._apps.follow(other._apps)
        self._ended_s = other._ended_s

    async def refusal(self, planned: PlannedTrial, meter: BudgetMeter) -> str | None:
        """Why budget or preflight do not let the trial begin; None: they do. Raises what `run_trial` does."""
        return await self._budget_refusal(planned, meter) or await self.preflight_refusal(planned)

    async def preflight_refusal(self, planned: PlannedTrial) -> str | None:
        """The same without a budget, which a farm keeps elsewhere."""
        return await self._apps.trials_of(planned.case).preflight_refusal(planned, self._model(planned))

    async def _budget_refusal(self, planned: PlannedTrial, meter: BudgetMeter) -> str | None:
        pushed_bytes = self._apps.pushed_bytes
        if (late := meter.time_refuses(pushed_bytes, self._rest_s(planned))) is not None:
            return late
        if meter.budget.max_push is None:
            return None
        model = self._model(planned)
        try:
            missing_bytes = await self._apps.trials_of(planned.case).missing_bytes(model)
        except StepError:
            # what the phone has is not known: the budget is a promise
            missing_bytes = model.size_bytes
        return meter.push_refuses(pushed_bytes, missing_bytes)

    @property
    def last_steps(self) -> tuple[HostStep, ...]:
        """What the harness did in the last trial, its very last step included."""
        return () if self._trials is None else self._trials.steps.steps(None)

    @property
    def pushed_bytes(self) -> int:
        """All that the run has pushed to the phone so far."""
        return self._apps.pushed_bytes

    async def run_trials(self, trials: Sequence[PlannedTrial], meter: BudgetMeter | None = None) -> RunResult:
        """All that the budget (None: there is none) leaves room for, behind what the run has already."""
        meter = meter or BudgetMeter(Budget())
        records, not_run = list(self.run.records), []
        before, total = len(records), len(records) + len(trials)
        for number, planned in enumerate(trials, start=before + 1):
            reason = await self._budget_refusal(planned, meter)
            by_budget = reason is not None
            reason = reason or await self.preflight_refusal(planned)
            if reason is not None:
                not_run.append(NotRun(planned, reason, by_budget))
                continue
            records.append(await self.run_trial(planned, number, total))
        return RunResult(self.run_id, self.facts, tuple(records), tuple(not_run))

    def _check_app(self, planned: PlannedTrial) -> None:
        if not self.run.records:
            return
        app = self._apps.app_of(planned.case)
        for record in self.run.records:
            if record.app_variant == app.variant and record.app_build not in (None, app.build):
                raise UsageError(
                    f"the runner app ({app.variant}) is build {app.build}, and run {self.run_id} began with "
                    f"{record.app_build}, so their figures do not belong together; give the same --runner, or begin a "
                    "new run (without --resume)"
                )

    def _model(self, planned: PlannedTrial) -> LocalModel:
        entry = planned.case.model
        if entry not in self._models:
            model = locate(entry, self._listener.step)
            for record in self.run.records:
                if record.model_name == model.name and record.model_sha256 != model.sha256:
                    raise UsageError(
                        f"model {model.name}: {model.path} is another file than the one that run {self.run_id} began "
                        "with, so their figures do not belong together; begin a new run (without --resume)"
                    )
            self._models[entry] = model
        return self._models[entry]

    def _rest_s(self, planned: PlannedTrial) -> float:
        """What is left of the pause since the last trial."""
        if self._ended_s is None:
            return 0.0
        return max(0.0, self._ended_s + planned.case.options.pause_s - asyncio.get_running_loop().time())

    async def _rest(self, rest_s: float) -> None:
        if rest_s:
            resting = f"rest between two trials ({duration_words(rest_s)})"
            self._listener.step(resting, 0, 1)
            await asyncio.sleep(rest_s)
            self._listener.step(resting, 1, 1)


@asynccontextmanager
async def open_conductor(
    word: DeviceWord,
    results: Results,
    listener: Listener,
    options: RunOptions = DEFAULTS,
    variants: Iterable[Variant | None] = (),
    choose_run: ChooseRun = _new_run,
) -> AsyncIterator[Conductor]:
    """Opens the results (closing what an earlier run left open) and the phone.

    `variants` of the app that will be asked for are there before the first trial, or it raises UsageError; others are
    found when a trial asks. Raises HarnessError's kin when the phone cannot be had or the results folder not be used.
    """
    variants = tuple(dict.fromkeys(variants))
    choice = parse_runner(options.runner)
    choice.check(variants)
    with ResultStore.open(results) as store:
        for record in salvage(store):
            listener.salvaged(record)
        opening = open_phone(word, transport=options.transport, lease_wait_s=options.lease_wait_s, tell=listener.note)
        async with opening as transport:
            with choose_run(store, transport.facts) as run, noted(store.folder, run.run_id, listener) as listener:
                labels = Labels(run.run_id, options.build)
                apps = Apps(transport, choice, store, labels, listener, keep=options.keep, preflight=options.preflight)
                # who the phone is decides which app runs on it
                apps.choose(variants)
                keep_apps(store.folder, apps.chosen, listener.note)
                yield Conductor(run, transport.facts, apps, listener)


async def run_suite(
    suite: Suite,
    word: DeviceWord,
    results: Results,
    listener: Listener,
    options: RunOptions = DEFAULTS,
    *,
    resume: bool = False,
) -> RunResult:
    """The whole way once; what a model does to the app is a record, not an exception.

    `resume`: the newest run of this suite on this phone that was cut short goes on, if there is one.
    """
    word = with_settings(word, suite.virtual)
    trials = plan_trials(suite)

    def choose_run(store: ResultStore, facts: PhoneFacts) -> AbstractContextManager[RunAtHand]:
        keep_suite(store.folder, suite)
        if not resume:
            return new_run(store, trials)
        return resumed_run(store, facts, Resumable(suite.digest, word), trials, listener.note, listener.salvaged)

    variants = (planned.case.variant for planned in trials)
    async with open_conductor(word, results, listener, options, variants, choose_run) as conductor:
        return await conductor.run_trials(conductor.run.left, BudgetMeter(suite.budget))

"""Looks at the phone, the results and the disk, to say what a run of a suite would be. Changes nothing on any of them.

A virtual phone that lives with the command is started to be asked, as a run would do it: it keeps its apps and models
in its home between runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.bench.forecast import (
    BudgetForecast,
    Duration,
    ModelForecast,
    PushForecast,
    Source,
    TypicalTime,
    budget_effects,
    duration,
    typical_times,
)
from harness.bench.models import LocalModel, Progress, find, models_folder
from harness.bench.plan import Case, PlannedTrial, cases_of, plan_trials
from harness.bench.preflight import Preflight, foretold
from harness.bench.run_options import RunOptions
from harness.bench.suite import ModelEntry, Suite
from harness.bench.synth import size_of
from harness.core.phone import ByUdid, DeviceWord, PhoneFacts, with_settings
from harness.core.record import TrialRecord
from harness.device.errors import StepError
from harness.device.interface import Transport
from harness.device.lease import LockBusy
from harness.device.push import missing_bytes
from harness.device.registry import open_phone
from harness.runner.choice import RunnerChoice, parse_runner
from harness.store.address import Results
from harness.store.database import ResultStore
from harness.store.errors import NoResults


@dataclass(frozen=True)
class Survey:
    """What a run would be."""

    phone: PhoneFacts | None
    phone_problem: str | None
    """Why the phone was not asked, or did not answer."""
    cases: tuple[Case, ...]
    trials: tuple[PlannedTrial, ...]
    """In order."""
    times: Mapping[str, TypicalTime]
    """By case."""
    duration: Duration
    models: tuple[ModelForecast, ...]
    pushes: tuple[PushForecast, ...]
    """In order of first need."""
    budgets: tuple[BudgetForecast, ...]
    disk_free_bytes: int
    """Of the disk on which models are made."""
    preflights: Mapping[str, Preflight]
    """By case; by what earlier records tell of this class of phone."""

    @property
    def push_bytes(self) -> int | None:
        """All pushes together; None: of some it is not known."""
        return _sum(push.push_bytes for push in self.pushes)

    @property
    def disk_bytes(self) -> int | None:
        """What files to be made or fetched take on this host; None: of some it is not known."""
        return _sum(model.size_bytes for model in self.models if model.source in (Source.MAKE, Source.FETCH))


async def survey(suite: Suite, word: DeviceWord, results: Results, progress: Progress, options: RunOptions) -> Survey:
    """Raises PhoneNotFound when there is no such phone, UsageError for a wrong word or runner.

    A phone that is in use or not ready is no error: what it has is then not known.
    """
    word = with_settings(word, suite.virtual)
    choice = parse_runner(options.runner)
    cases, trials = cases_of(suite), plan_trials(suite)
    choice.check(case.variant for case in cases)
    files = {entry: find(entry, progress) for entry in suite.models}
    models = {entry: _model(entry, files[entry], progress) for entry in suite.models}
    needs = _needs(trials, choice)
    missing: dict[tuple[ModelEntry, str], int | None] = {}
    facts, problem = None, None
    try:
        async with open_phone(word, transport=options.transport, lease_wait_s=0.0) as transport:
            facts = transport.facts
            for entry, bundle_id in needs:
                missing[entry, bundle_id] = await _missing(transport, bundle_id, files[entry], models[entry])
    except (LockBusy, StepError) as error:
        problem = str(error)
    pushes = tuple(
        PushForecast(entry.name, bundle_id, missing.get((entry, bundle_id)), count)
        for (entry, bundle_id), count in needs.items()
    )
    records = _records(results, facts, word)
    times = typical_times(
        cases,
        records,
        {entry.name: file.sha256 for entry, file in files.items() if file is not None},
    )
    return Survey(
        facts,
        problem,
        tuple(cases),
        tuple(trials),
        times,
        duration(trials, times),
        tuple(models.values()),
        pushes,
        tuple(budget_effects(suite.budget, trials, times, pushes)),
        shutil.disk_usage(_existing(models_folder())).free,
        {case.name: foretold(case, _path(files[case.model]), records, facts) for case in cases},
    )


def _path(file: LocalModel | None) -> Path | None:
    return None if file is None else file.path


def _needs(trials: Sequence[PlannedTrial], choice: RunnerChoice) -> dict[tuple[ModelEntry, str], int]:
    """Model and app → how many trials, in order of first need."""
    needs: dict[tuple[ModelEntry, str], int] = {}
    for planned in trials:
        key = planned.case.model, choice.bundle_id(planned.case.variant)
        needs[key] = needs.get(key, 0) + 1
    return needs


def _model(entry: ModelEntry, file: LocalModel | None, progress: Progress) -> ModelForecast:
    if file is not None:
        return ModelForecast(entry.name, Source.THERE, file.size_bytes, str(file.path))
    if entry.synth is not None:
        what = f"compute the size of {entry.name}"
        progress(what, 0, 1)
        size_bytes = size_of(entry.synth.recipe)
        progress(what, 1, 1)
        return ModelForecast(entry.name, Source.MAKE, size_bytes, f"recipe {entry.synth.base}")
    if entry.url is not None:
        return ModelForecast(entry.name, Source.FETCH, None, entry.url)
    return ModelForecast(entry.name, Source.MISSING, None, str(entry.path))


async def _missing(transport: Transport, bundle_id: str, file: LocalModel | None, model: ModelForecast) -> int | None:
    if file is None:
        # what is not here cannot be known by its digest there
        return model.size_bytes
    return await missing_bytes(transport, bundle_id, file.path.name, file.sha256, file.size_bytes)


def _records(results: Results, facts: PhoneFacts | None, word: DeviceWord) -> list[TrialRecord]:
    """Of this class of device; of this very phone, where its class is not known."""
    if facts is not None:
        wanted = {"device_kind": str(facts.kind), "device_product_type": facts.product_type}
    elif isinstance(word, ByUdid):
        wanted = {"device_udid": word.udid}
    else:
        return []
    try:
        with ResultStore.open_existing(results) as store:
            return store.trials(**wanted)
    except NoResults:
        return []


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total

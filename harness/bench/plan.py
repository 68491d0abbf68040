"""From a suite to the trials to be run, in order. Pure: nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass

from harness.bench.suite import ModelEntry, Options, Suite
from harness.core.job import Backend, CacheState, Engine
from harness.core.outcome import Outcome
from harness.device.readiness import Needs

NO_NEEDS = Needs()
FLOORS = (Engine.MMAP, Engine.READ)


@dataclass(frozen=True)
class Case:
    """Model × engine × backend × cache state with the suite's options."""

    suite: str
    model: ModelEntry
    engine: Engine
    backend: Backend
    cache: CacheState
    options: Options
    expected: Outcome
    needs: Needs = NO_NEEDS

    @property
    def name(self) -> str:
        return f"{self.model.name}/{self.engine}/{self.backend}/{self.cache}"


@dataclass(frozen=True)
class PlannedTrial:
    case: Case
    ordinal: int
    """From 1 within the case."""

    @property
    def name(self) -> str:
        return f"{self.case.name}#{self.ordinal}"


def cases_of(suite: Suite) -> list[Case]:
    """Every combination of the matrix; the floors, which only bring the file in, know neither GPU nor weight cache."""
    cases = []
    for model in suite.models:
        for engine in suite.matrix.engines:
            floor = engine in FLOORS
            for backend in (Backend.CPU,) if floor else suite.matrix.backends:
                for cache in (CacheState.NONE,) if floor else suite.matrix.caches:
                    expected = _expected(suite, model.name, backend, cache)
                    cases.append(
                        Case(suite.name, model, engine, backend, cache, suite.options, expected, suite.needs.needs)
                    )
    return cases


def plan_trials(suite: Suite) -> list[PlannedTrial]:
    """Interleaved: the first trial of every case, then the second …, so that a slow drift meets all cases alike."""
    cases = cases_of(suite)
    return [PlannedTrial(case, ordinal) for ordinal in range(1, suite.options.trials + 1) for case in cases]


def _expected(suite: Suite, model: str, backend: Backend, cache: CacheState) -> Outcome:
    """The last rule that matches; without one, `loaded`."""
    expected = Outcome.LOADED
    for rule in suite.expect:
        if rule.model in (None, model) and rule.backend in (None, backend) and rule.cache in (None, cache):
            expected = rule.outcome
    return expected

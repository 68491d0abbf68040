"""From a suite to the trials to be run, in order. Pure: nothing is touched."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from harness.bench.suite import Limit, ModelEntry, Options, Order, Suite
from harness.bench.suite_rules import Matcher
from harness.core.job import Backend, CacheState, Engine, Variant
from harness.core.outcome import Outcome
from harness.device.readiness import Needs

NO_NEEDS = Needs()
FLOORS = (Engine.MMAP, Engine.READ)


@dataclass(frozen=True)
class Case:
    """Model × engine × backend × cache state × build variant, with the options of its own."""

    suite: str
    model: ModelEntry
    engine: Engine
    backend: Backend
    cache: CacheState
    options: Options
    """The suite's, with this case's values of the axes `max_tokens`, `loads` and `prompts` in them."""
    expected: Outcome
    needs: Needs = NO_NEEDS
    variant: Variant | None = None
    """Of the app; None: the suite names none, so the plain one runs it, or the only app given."""
    axes: tuple[tuple[str, str], ...] = ()
    """What sets this case apart beside model, engine, backend and cache: (`variant`, `both`), (`tokens`, `512`) …
    Only axes that the suite has; so a case keeps its name, and its series, when another suite gets more of them.
    """
    limits: tuple[Limit, ...] = ()
    suite_digest: str | None = None
    """None: the case is of no suite file."""

    @property
    def name(self) -> str:
        """As in `wide/litert_lm/cpu/cold/variant=both`."""
        head = f"{self.model.name}/{self.engine}/{self.backend}/{self.cache}"
        return "/".join([head, *(f"{axis}={value}" for axis, value in self.axes)])


@dataclass(frozen=True)
class PlannedTrial:
    case: Case
    ordinal: int
    """From 1 within the case; 0 and below: a warm-up, kept but not counted."""
    attempt: int = 1
    """Higher when an earlier one was cut short with its run."""

    @property
    def is_warm_up(self) -> bool:
        return self.ordinal < 1

    @property
    def name(self) -> str:
        return f"{self.case.name}#{self.ordinal}"


def cases_of(suite: Suite) -> list[Case]:
    """Every combination of the matrix; the floors, which only bring the file in, know neither GPU nor weight cache."""
    return [case for model in suite.models for engine in suite.matrix.engines for case in _cases(suite, model, engine)]


def _cases(suite: Suite, model: ModelEntry, engine: Engine) -> Iterator[Case]:
    matrix, floor = suite.matrix, engine in FLOORS
    for backend, cache, variant, tokens, load, prompt in itertools.product(
        (Backend.CPU,) if floor else matrix.backends,
        (CacheState.NONE,) if floor else matrix.caches,
        matrix.variants or (None,),
        matrix.max_tokens or (None,),
        matrix.loads or (None,),
        matrix.prompts or (None,),
    ):
        changes: dict[str, object] = {}
        axes: list[tuple[str, str]] = []
        if variant is not None:
            axes.append(("variant", variant))
        if tokens is not None:
            changes["max_tokens"] = tokens
            axes.append(("tokens", str(tokens)))
        if load is not None:
            changes |= suite.loads[load].model_dump(exclude_unset=True)
            axes.append(("load", load))
        if prompt is not None:
            changes["prompt"] = suite.prompts[prompt]
            axes.append(("prompt", prompt))
        options = suite.options.changed(changes)

        def holds(
            rule: Matcher,
            *,
            backend: Backend = backend,
            cache: CacheState = cache,
            variant: Variant | None = variant,
            max_tokens: int = options.max_tokens,
            load: str | None = load,
            prompt: str | None = prompt,
        ) -> bool:
            return rule.matches(
                model=model.name, engine=engine, backend=backend, cache=cache,
                variant=variant, max_tokens=max_tokens, load=load, prompt=prompt,
            )  # fmt: skip  # eight values of one case

        yield Case(
            suite.name,
            model,
            engine,
            backend,
            cache,
            options,
            # the last rule that matches; without one, loaded
            next((rule.outcome for rule in reversed(suite.expect) if holds(rule)), Outcome.LOADED),
            suite.needs.needs,
            variant,
            tuple(axes),
            tuple(rule for rule in suite.limit if holds(rule)),
            suite.digest,
        )


def plan_trials(suite: Suite) -> list[PlannedTrial]:
    """All trials in the suite's order; the warm-ups of a case come before its first counted trial."""
    cases, options = cases_of(suite), suite.options
    ordinals = range(1 - options.warmup_trials, options.trials + 1)
    if options.order is Order.SEQUENTIAL:
        return [PlannedTrial(case, ordinal) for case in cases for ordinal in ordinals]
    dice = random.Random(options.seed)  # noqa: S311  # an order, no secret
    planned = []
    for ordinal in ordinals:
        if options.order is Order.SHUFFLED:
            dice.shuffle(cases)
        planned += [PlannedTrial(case, ordinal) for case in cases]
    return planned

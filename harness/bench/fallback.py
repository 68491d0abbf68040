"""`harness fallback`: what gives, when a model does not load? One case after another, until one loads with room.

The ladder is the suite's (`[[fallback]]`), or made of its matrix and models: GPU, CPU, smaller contexts, the other
models in the order given, the other variants of the app.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from harness.bench.conductor import Conductor, open_conductor
from harness.bench.fit_question import with_context
from harness.bench.head_room import Probe, Prober, head_room_bytes
from harness.bench.listener import Listener
from harness.bench.plan import Case, cases_of
from harness.bench.run_options import RunOptions
from harness.bench.single import name_of
from harness.bench.suite import Matrix, Suite
from harness.core.errors import UsageError
from harness.core.job import Backend, Engine
from harness.core.phone import DeviceWord, PhoneFacts, with_settings
from harness.core.record import TrialRecord
from harness.store.address import Results

FIRST = "as asked"
# A step's key → the axis of the matrix that it takes a value of.
_AXES = {
    "engine": "engines",
    "backend": "backends",
    "cache": "caches",
    "variant": "variants",
    "max_tokens": "max_tokens",
    "load": "loads",
}


@dataclass(frozen=True)
class Rung:
    """A step of the ladder: a whole case, and what is different about it."""

    what: str
    case: Case


@dataclass(frozen=True)
class Climbed:
    """A rung that was tried, and what it cost."""

    rung: Rung
    probes: tuple[Probe, ...]
    trials: tuple[TrialRecord, ...]
    """All of them, also those that a phone was in the way of."""
    pushed_bytes: int

    @property
    def holds(self) -> bool:
        """Every trial loaded with the head-room asked for."""
        return all(probe.holds for probe in self.probes)

    @property
    def why(self) -> str:
        """The trial that decided, in words."""
        return self.probes[-1].why

    @property
    def time_s(self) -> float:
        """From the begin of each trial to its record, pushing included."""
        ends = ((record.started_at, record.finished_at) for record in self.trials)
        spans = (datetime.fromisoformat(end) - datetime.fromisoformat(begin) for begin, end in ends if end is not None)
        return sum(span.total_seconds() for span in spans)

    @property
    def load_ns(self) -> int | None:
        """The median of the trials that loaded; None without one."""
        loads = [probe.record.load_ns for probe in self.probes if probe.record.load_ns is not None]
        return None if not loads else statistics.median_low(loads)

    @property
    def peak_footprint_bytes(self) -> int | None:
        """The largest; of a trial that died, what was sampled before."""
        peaks = [peak for probe in self.probes if (peak := probe.record.peak_footprint_bytes) is not None]
        return max(peaks, default=None)

    @property
    def head_room_bytes(self) -> int | None:
        """The least that a trial that loaded left."""
        loaded = (probe.record for probe in self.probes if probe.record.load_ns is not None)
        return min((room for record in loaded if (room := head_room_bytes(record)) is not None), default=None)


@dataclass(frozen=True)
class FallbackReport:
    run_id: str
    phone: PhoneFacts
    head_room: Fraction
    climbed: tuple[Climbed, ...]
    """In the order of the ladder."""
    untried: tuple[Rung, ...]
    """Those after the first that holds."""

    @property
    def found(self) -> Climbed | None:
        """The first that holds."""
        return next((one for one in self.climbed if one.holds), None)


def ladder_of(suite: Suite) -> tuple[Rung, ...]:
    """The suite's first case, then its steps. Raises UsageError for a step that cannot be made."""
    steps = [step.changes for step in suite.fallback] if suite.fallback else list(_made_of(suite))
    first = {} if suite.fallback or Backend.GPU not in suite.matrix.backends else {"backend": Backend.GPU}
    rungs: dict[str, Rung] = {}
    for number, changes in enumerate([first, *steps]):
        case = _case_of(suite, changes, f"fallback[{number - 1}]")
        what = ", ".join(f"{key} {value}" for key, value in changes.items()) or FIRST
        # what has been tried is not tried again
        rungs.setdefault(case.name, Rung(what, case))
    return tuple(rungs.values())


def _made_of(suite: Suite) -> Iterator[dict[str, Any]]:
    """The steps that the matrix and the models offer; each keeps what the ones before it gave up."""
    matrix, given_up = suite.matrix, dict[str, Any]()
    if Backend.GPU in matrix.backends and Backend.CPU in matrix.backends:
        given_up["backend"] = Backend.CPU
        yield dict(given_up)
    for tokens in sorted((tokens for tokens in matrix.max_tokens if tokens < matrix.max_tokens[0]), reverse=True):
        given_up["max_tokens"] = tokens
        yield dict(given_up)
    for model in suite.models[1:]:
        given_up["model"] = model.name
        yield dict(given_up)
    for variant in matrix.variants[1:]:
        given_up["variant"] = variant
        yield dict(given_up)


def _case_of(suite: Suite, changes: dict[str, Any], place: str) -> Case:
    """The suite's first case with these changes."""
    axes: dict[str, tuple[Any, ...]] = {axis: values[:1] for axis, values in suite.matrix}
    axes |= {axis: (changes[key],) for key, axis in _AXES.items() if key in changes}
    wanted = changes.get("model", suite.models[0].name)
    model = next(model for model in suite.models if model.name == wanted)
    context: int | None = changes.get("context")
    if context is not None:
        axes["max_tokens"] = ()
        if model.synth is not None:
            model = model.model_copy(update={"synth": with_context(model.synth, context)})
        elif axes["engines"] != (Engine.MEDIAPIPE,):
            raise UsageError(
                f"{place}: {model.name} is a file, whose context was fixed when it was converted, and only mediapipe "
                "sizes its token cache by max_tokens; add a model converted for less context and name it here"
            )
    (case,) = cases_of(suite.model_copy(update={"models": (model,), "matrix": Matrix(**axes)}))
    if context is not None:
        case = replace(
            case,
            options=case.options.changed({"max_tokens": context}),
            axes=(*case.axes, ("context", str(context))),
        )
    # its records are a ladder's: no run of the suite is resumed with them
    return replace(case, suite=name_of(f"fallback-{suite.name}"), suite_digest=None)


async def fall_back(
    suite: Suite,
    word: DeviceWord,
    results: Results,
    listener: Listener,
    options: RunOptions,
    *,
    head_room: Fraction,
    repeats: int = 1,
    try_all: bool = False,
) -> FallbackReport:
    """Climbs the ladder up to the first case that holds in all of its `repeats` trials; `try_all`: to its end.

    Raises UsageError for a ladder that cannot be made, and HarnessError's kin when the phone cannot be had, or is in
    the way again and again. Whatever was tried until then is in the results.
    """
    ladder = ladder_of(suite)
    climbed: list[Climbed] = []
    variants = (rung.case.variant for rung in ladder)
    async with open_conductor(with_settings(word, suite.virtual), results, listener, options, variants) as conductor:
        prober = Prober(conductor, head_room, len(ladder) * repeats)
        for rung in ladder:
            if not try_all and climbed and climbed[-1].holds:
                break
            climbed.append(await _climb(rung, conductor, prober, repeats))
        untried = ladder[len(climbed) :]
        return FallbackReport(conductor.run_id, conductor.facts, head_room, tuple(climbed), untried)


async def _climb(rung: Rung, conductor: Conductor, prober: Prober, repeats: int) -> Climbed:
    pushed_before_bytes, trials_before = conductor.pushed_bytes, len(prober.records)
    probes: list[Probe] = []
    while len(probes) < repeats and all(probe.holds for probe in probes):
        probes.append(await prober.probe(rung.case))
    pushed_bytes = conductor.pushed_bytes - pushed_before_bytes
    return Climbed(rung, tuple(probes), tuple(prober.records[trials_before:]), pushed_bytes)

"""`harness compare` with two things that can be run: trials of both in turns, on one phone, under one run's id.

Two builds of the app run the cases of one suite; two suites run in one app. Builds of one bundle id take each other's
place before each change of sides, as an upgrade does, so that the app's files stay; others are on the phone together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from harness.bench.apps import Apps
from harness.bench.budget import BudgetMeter
from harness.bench.compare_turns import DEFAULT_TRIALS, DEFAULT_WARM_UPS, Arm, turns_of
from harness.bench.conductor import Conductor
from harness.bench.kept_apps import keep_apps
from harness.bench.labels import Labels
from harness.bench.listener import Listener
from harness.bench.plan import Case, PlannedTrial, cases_of
from harness.bench.resume import new_run
from harness.bench.run_note import noted
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.errors import UsageError
from harness.core.phone import DeviceWord, PhoneFacts, with_settings
from harness.core.record import TrialRecord
from harness.device.evidence import ReportBook
from harness.device.registry import open_phone
from harness.runner.choice import RunnerChoice, parse_runner
from harness.store.address import Results
from harness.store.database import ResultStore
from harness.store.salvage import salvage


@dataclass(frozen=True)
class Contender:
    """One side: a suite's cases, in the app that `runner` says."""

    suite: Suite
    runner: tuple[str, ...]
    build: str | None = None
    """Name for the column `build`."""


@dataclass(frozen=True)
class TurnOptions:
    trials: int = DEFAULT_TRIALS
    """Of each side and case."""
    warm_ups: int = DEFAULT_WARM_UPS
    cases: frozenset[str] | None = None
    """Names of A's cases that are run; None: all."""


@dataclass(frozen=True)
class TurnsTaken:
    run_id: str
    phone: PhoneFacts
    records: tuple[TrialRecord, ...]
    """In order of time, warm-ups too."""
    not_run: tuple[str, ...]
    """Cases that were cut off, each with the reason."""


def matched_cases(a: Suite, b: Suite, wanted: frozenset[str] | None = None) -> list[Mapping[Arm, Case]]:
    """The cases of both, by name; of two suites with a case each, the two. Raises UsageError without any."""
    of_a, of_b = ({case.name: case for case in cases_of(suite)} for suite in (a, b))
    pairs: list[Mapping[Arm, Case]] = [{Arm.A: of_a[name], Arm.B: of_b[name]} for name in of_a if name in of_b]
    if not pairs and len(of_a) == len(of_b) == 1:
        pairs = [{Arm.A: next(iter(of_a.values())), Arm.B: next(iter(of_b.values()))}]
    if not pairs:
        raise UsageError(
            f"the suites {a.name} and {b.name} have no case of one name ({', '.join(of_a)}; {', '.join(of_b)}): give "
            "both the same model names, or one case each"
        )
    if wanted is None:
        return pairs
    unknown = wanted - {pair[Arm.A].name for pair in pairs}
    if unknown:
        there = ", ".join(pair[Arm.A].name for pair in pairs)
        raise UsageError(f"no case {', '.join(sorted(unknown))} to compare; there are {there}")
    return [pair for pair in pairs if pair[Arm.A].name in wanted]


async def take_turns(
    a: Contender,
    b: Contender,
    word: DeviceWord,
    results: Results,
    listener: Listener,
    options: RunOptions,
    turns: TurnOptions | None = None,
    on_begin: Callable[[str], None] = lambda run_id: None,
) -> TurnsTaken:
    """Every case of both sides, one after another, the two sides in turns; `on_begin` hears the run's id.

    Whatever a model does to the app is a record. Raises UsageError for sides that cannot be on one phone, and
    HarnessError's kin when the phone cannot be had. A cancellation leaves what was recorded.
    """
    turns = turns or TurnOptions()
    if a.suite.virtual != b.suite.virtual:
        raise UsageError("the two suites ask for different settings of the virtual phone, and the phone is one")
    pairs = matched_cases(a.suite, b.suite, turns.cases)
    sides = {Arm.A: a, Arm.B: b}
    choices = {arm: parse_runner(side.runner) for arm, side in sides.items()}
    for arm, choice in choices.items():
        choice.check(pair[arm].variant for pair in pairs)
    word = with_settings(word, a.suite.virtual)
    async with _open(sides, choices, pairs, word, results, listener, options) as conductors:
        on_begin(conductors[Arm.A].run_id)
        return await _take(
            conductors, pairs, turns, {arm: BudgetMeter(side.suite.budget) for arm, side in sides.items()}
        )


@asynccontextmanager
async def _open(
    sides: Mapping[Arm, Contender],
    choices: Mapping[Arm, RunnerChoice],
    pairs: Sequence[Mapping[Arm, Case]],
    word: DeviceWord,
    results: Results,
    listener: Listener,
    options: RunOptions,
) -> AsyncIterator[dict[Arm, Conductor]]:
    with ResultStore.open(results) as store:
        for record in salvage(store):
            listener.salvaged(record)
        opening = open_phone(word, transport=options.transport, lease_wait_s=options.lease_wait_s, tell=listener.note)
        async with opening as transport:
            with new_run(store) as run, noted(store.folder, run.run_id, listener) as listener:
                book = ReportBook()
                conductors = {}
                for arm, side in sides.items():
                    labels = Labels(run.run_id, side.build, arm)
                    apps = Apps(
                        transport, choices[arm], store, labels, listener,
                        keep=options.keep, preflight=options.preflight, book=book,
                    )  # fmt: skip  # a run's parts, and what it was asked
                    apps.choose(pair[arm].variant for pair in pairs)
                    keep_apps(store.folder, apps.chosen, listener.note)
                    conductors[arm] = Conductor(run, transport.facts, apps, listener)
                yield conductors


async def _take(
    conductors: Mapping[Arm, Conductor],
    pairs: Sequence[Mapping[Arm, Case]],
    turns: TurnOptions,
    meters: Mapping[Arm, BudgetMeter],
) -> TurnsTaken:
    total = len(pairs) * 2 * (turns.trials + turns.warm_ups)
    records: list[TrialRecord] = []
    not_run: list[str] = []
    last: Arm | None = None
    for number, pair in enumerate(pairs):
        seed = f"{pair[Arm.A].options.seed}/{pair[Arm.A].name}"
        # its records are a comparison's: no run of the suite is resumed with them
        cases = {arm: replace(case, suite_digest=None) for arm, case in pair.items()}
        done = number * total // len(pairs)
        for turn in turns_of(turns.trials, turns.warm_ups, seed):
            conductor, planned = conductors[turn.arm], PlannedTrial(cases[turn.arm], turn.ordinal)
            if last is turn.arm.other:
                conductor.follow(conductors[last])
            last = turn.arm
            refusal = await conductor.refusal(planned, meters[turn.arm])
            if refusal is not None:
                not_run.append(f"{planned.case.name}: {refusal}")
                break
            done += 1
            records.append(await conductor.run_trial(planned, done, total))
    one = conductors[Arm.A]
    return TurnsTaken(one.run_id, one.facts, tuple(records), tuple(not_run))

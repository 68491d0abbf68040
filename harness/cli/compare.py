"""`harness compare`: is B worse than A? Trials in turns where both can be run, else what was recorded."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.analysis.compare_sides import About
from harness.analysis.metrics import DEFAULT_METRICS, METRIC_BY_NAME, METRICS, Metric
from harness.bench.compare_turns import DEFAULT_TRIALS, DEFAULT_WARM_UPS, Arm
from harness.bench.run_options import LEASE_WAIT_S, RunOptions
from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson, LeaseWait, ResultsText, Runners, TransportName
from harness.cli.one_phone import one_phone
from harness.cli.run_display import RunDisplay
from harness.core.errors import UsageError
from harness.core.judgement import VerdictKind
from harness.core.text import printable
from harness.store.address import DEFAULT_FOLDER, ResultsAddress, parse_results

if TYPE_CHECKING:
    from harness.analysis.compare_sides import SidesComparison
    from harness.bench.compare import Contender, TurnOptions
    from harness.bench.compare_words import RecordedSide, Side

ALL_METRICS = "all"
MAX_TRIALS = 200
BUILDS = (About.ENGINE, About.VARIANT)
"""What two builds of the app may differ in: they bring it along."""
SUITES = (About.ENGINE, About.VARIANT, About.MODEL, About.OPTIONS)


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="The one before: an .ipa, a suite.toml, run:ID, build:NAME, a results folder or database, an export.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The one after, likewise.")],
    suite_file: Annotated[
        Path | None, typer.Option("--suite", metavar="SUITE.toml", help="What both builds are to run.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="WORD", help="The phone for both; without it nothing is run.")
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", min=2, max=MAX_TRIALS, help="Of each side and case, in turns.")
    ] = DEFAULT_TRIALS,
    warm_ups: Annotated[
        int, typer.Option("--warm-ups", min=0, max=MAX_TRIALS, help="Of each side and case, not counted.")
    ] = DEFAULT_WARM_UPS,
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="NAME", help="Run only this case; repeatable.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help=f"Repeatable; all; without: {', '.join(DEFAULT_METRICS)}."),
    ] = None,
    about: Annotated[
        list[About] | None,
        typer.Option("--about", help="What the sides may differ in since it is what you compare; repeatable."),
    ] = None,
    results_text: ResultsText = DEFAULT_FOLDER,
    runner: Runners = None,
    transport: TransportName = "auto",
    lease_wait: LeaseWait = LEASE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Tell whether B is worse than A: 0 the same or better, 1 regressed, 2 not comparable."""
    results = parse_results(results_text)
    metrics = metrics_of(metric or ())
    from harness.analysis.compare_sides import compare_sides
    from harness.bench.compare import TurnOptions
    from harness.bench.compare_words import RecordedSide, read_side

    sides = read_side(a, results), read_side(b, results)
    allowed = set(about or ())
    to_run = None
    if device is not None or not all(isinstance(side, RecordedSide) for side in sides):
        contenders = _contenders(sides, results, suite_file, tuple(runner or ("auto",)))
        if device is None:
            raise UsageError("trials in turns need a phone: --device virtual, any, or a UDID")
        to_run = contenders
        allowed |= set(SUITES if contenders[0].suite is not contenders[1].suite else BUILDS)
    if to_run is not None and device is not None:
        options = RunOptions(transport=transport, lease_wait_s=lease_wait)
        turns = TurnOptions(trials, warm_ups, None if case is None else frozenset(case))
        run_id, whole = _take_turns(to_run, device, results, options, turns)
        arm_a, arm_b = _arms(results, run_id)
        found = compare_sides(arm_a, arm_b, metrics, about=allowed, match_single=True)
        told = {"run_id": run_id, "complete": whole, "a": a, "b": b}
    else:
        one, other = (side for side in sides if isinstance(side, RecordedSide))
        if case is not None:
            raise UsageError("--case is for trials that are to be run (--device)")
        found = compare_sides(one.trials, other.trials, metrics, about=allowed, match_single=True)
        told = {"run_id": None, "complete": True, "a": one.words, "b": other.words}
        _suggest(one, other, found, results)
        whole = True
    _print(found, told, as_json=as_json)
    raise typer.Exit(exit_code(found.verdict) if whole else exits.INTERRUPTED)


def metrics_of(names: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of these names, without any the usual ones. Raises UsageError for one that there is not."""
    wanted = tuple(dict.fromkeys(names)) or DEFAULT_METRICS
    if wanted == (ALL_METRICS,):
        return METRICS
    unknown = [name for name in wanted if name not in METRIC_BY_NAME]
    if unknown:
        raise UsageError(f"--metric {unknown[0]!r}: there are {', '.join(METRIC_BY_NAME)}, or {ALL_METRICS} alone")
    return tuple(METRIC_BY_NAME[name] for name in wanted)


def exit_code(verdict: VerdictKind) -> int:
    """0 the same or better (or too noisy to say worse), 1 regressed, 2 no comparison."""
    if verdict is VerdictKind.REGRESSED:
        return exits.MODEL_FAILED
    return exits.WRONG_USE if verdict in (VerdictKind.INCOMPARABLE, VerdictKind.MISSING) else 0


def _contenders(
    sides: tuple[Side, Side], results: ResultsAddress, suite_file: Path | None, runner: tuple[str, ...]
) -> tuple[Contender, Contender]:
    """What takes turns. Raises UsageError where a side cannot be run, or not against the other."""
    from harness.bench.compare import Contender
    from harness.bench.compare_words import SuiteSide
    from harness.bench.suite import load_suite

    one, other = sides
    if isinstance(one, SuiteSide) and isinstance(other, SuiteSide):
        if suite_file is not None:
            raise UsageError("--suite is for two builds of the app; A and B are suites themselves")
        return Contender(one.suite, runner), Contender(other.suite, runner)
    if isinstance(one, SuiteSide) or isinstance(other, SuiteSide):
        raise UsageError("a suite is compared with a suite; give builds as A and B, and what they run as --suite")
    apps = [_app_of(side, results) for side in sides]
    if suite_file is None:
        raise UsageError("two builds need something to run: --suite SUITE.toml")
    if runner != ("auto",):
        raise UsageError("--runner is for two suites; here A and B are the apps")
    suite = load_suite(suite_file)
    return Contender(suite, (str(apps[0]),)), Contender(suite, (str(apps[1]),))


def _app_of(side: Side, results: ResultsAddress) -> Path:
    from harness.bench.compare_words import AppSide, RecordedSide

    if isinstance(side, AppSide):
        return side.app.path
    kept = side.kept_app(results) if isinstance(side, RecordedSide) else None
    if kept is None:
        raise UsageError(
            f"{side.text}: its app is not among those kept beside the results (or it is several), so it cannot run "
            "again; give the .ipa, or compare what was recorded on both sides (without --device)"
        )
    return kept


def _take_turns(
    contenders: tuple[Contender, Contender],
    device: str,
    results: ResultsAddress,
    options: RunOptions,
    turns: TurnOptions,
) -> tuple[str, bool]:
    """The id of the comparison's run, and whether it came to its end."""
    from harness.bench.compare import take_turns

    word = one_phone("compare", device)
    begun: list[str] = []
    try:
        with RunDisplay() as display:
            taken = asyncio.run(take_turns(*contenders, word, results, display, options, turns, on_begin=begun.append))
    except KeyboardInterrupt:
        if not begun:
            raise typer.Exit(exits.INTERRUPTED) from None
        talk(f"interrupted; what was recorded is kept in {results.text}, and this is what can be said of it")
        return begun[0], False
    for reason in taken.not_run:
        talk(f"not run to the end: {reason}")
    return taken.run_id, True


def _arms(results: ResultsAddress, run_id: str) -> list[Any]:
    from harness.store.database import ResultStore

    with ResultStore.open_existing(results) as store:
        return [store.frame(run_id=run_id, arm=arm.value) for arm in Arm]


def _suggest(one: RecordedSide, other: RecordedSide, found: SidesComparison, results: ResultsAddress) -> None:
    """Where both apps are at hand, the sound way is a command away."""
    kept = [side.kept_app(results) for side in (one, other)]
    if found.interleaved or None in kept or kept[0] == kept[1]:
        return
    words = ["harness", "compare", *map(str, kept), "--suite", "SUITE.toml", "--device", "WORD"]
    talk(f"both apps are kept; in turns on one phone: {shlex.join(words)}")


def _print(found: SidesComparison, told: dict[str, Any], *, as_json: bool) -> None:
    from harness.report.comparison_table import HEADINGS, RIGHT, comparison_data, comparison_notes, comparison_rows

    notes = comparison_notes(found)
    if as_json:
        print_json(told | comparison_data(found) | {"notes": notes})
        return
    typer.echo(printable(f"A: {told['a']}\nB: {told['b']}"))
    print_table(HEADINGS, comparison_rows(found), right=RIGHT, whole=("Metric", "Verdict"))
    for note in notes:
        talk(f"note: {note}")
    run = "" if told["run_id"] is None else f"  (run {told['run_id']})"
    typer.echo(f"{found.verdict}{run}")

"""`harness fit`: the largest context, number of copies or chunk that loads, found by trying."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.analysis.fit import CONFIDENCE, Tally
from harness.bench.fit_question import Over, Question, model_of
from harness.bench.head_room import head_room_bytes, parse_share, percent
from harness.bench.run_options import LEASE_WAIT_S, RunOptions
from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import DEFAULT_HEADROOM, AsJson, Headroom, LeaseWait, OnePhone, ResultsText, TransportName
from harness.cli.one_phone import one_phone
from harness.cli.run_display import RunDisplay
from harness.core.errors import UsageError
from harness.core.job import Backend, CacheState, Engine
from harness.core.outcome import ends_text
from harness.core.text import printable
from harness.core.units import UnitError, format_bytes, parse_bytes
from harness.report.words import bytes_text, duration_text
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from harness.bench.fit import FitReport

HEADINGS = ("Holds", "Outcome", "Peak footprint", "Limit", "Head-room", "Load")


def fit_model(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help='A model file, a recipe (wide), or { base = "wide", layers = 4 }.')
    ],
    device: OnePhone,
    over: Annotated[Over, typer.Option("--over", help="What is made larger.")],
    headroom: Headroom = DEFAULT_HEADROOM,
    smallest: Annotated[
        str | None, typer.Option("--min", metavar="N", help="Tokens or copies; over chunk a size: 64KiB.")
    ] = None,
    largest: Annotated[str | None, typer.Option("--max", metavar="N", help="Likewise.")] = None,
    step: Annotated[
        int | None, typer.Option("--step", min=1, help="From one value to the next; default: 128 tokens, 1 copy.")
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=100, help="Trials of a value; most of them decide.")
    ] = 3,
    engine: Annotated[Engine, typer.Option("--engine")] = Engine.LITERT_LM,
    backend: Annotated[Backend, typer.Option("--backend")] = Backend.CPU,
    cache: Annotated[CacheState, typer.Option("--cache", help="State of the weight cache.")] = CacheState.COLD,
    results_text: ResultsText = DEFAULT_FOLDER,
    runner: Annotated[str, typer.Option("--runner", help="auto, python, swift, or the path of an .ipa.")] = "auto",
    transport: TransportName = "auto",
    lease_wait: LeaseWait = LEASE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Find the largest value that loads with room to spare, by bisection over fresh trials."""
    results = parse_results(results_text)
    from harness.bench.fit import fit

    word = one_phone("fit", device)
    question = Question(
        model=model_of(model),
        over=over,
        head_room=parse_share(headroom),
        engine=engine,
        backend=backend,
        cache=cache,
        smallest=_number("--min", smallest, over),
        largest=_number("--max", largest, over),
        step=step,
        repeats=repeats,
    )
    options = RunOptions(runner=(runner,), transport=transport, lease_wait_s=lease_wait)
    try:
        with RunDisplay() as display:
            report = asyncio.run(fit(question, word, results, display, options))
    except KeyboardInterrupt:
        talk(f"interrupted; the app on the phone has been ended, what was recorded is kept in {results.text}")
        raise typer.Exit(exits.INTERRUPTED) from None
    if as_json:
        print_json(_told(report))
    else:
        _print(report)
    raise typer.Exit(0 if report.result.best else exits.MODEL_FAILED)


def _number(flag: str, text: str | None, over: Over) -> int | None:
    if text is None:
        return None
    try:
        return parse_bytes(text) if over is Over.CHUNK else int(text)
    except UnitError as error:
        raise UsageError(f"{flag}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{flag} {text}: over {over} a whole number is needed") from error


def value_text(over: Over, value: int) -> str:
    """`1024 tokens`, `1 copy`, `64 KiB`."""
    match over:
        case Over.CONTEXT:
            return f"{value} tokens"
        case Over.COPIES:
            return f"{value} copy" if value == 1 else f"{value} copies"
        case Over.CHUNK:
            return format_bytes(value)


def _print(report: FitReport) -> None:
    question, result = report.question, report.result
    typer.echo(f"{printable(report.phone.label)}  udid {report.phone.udid}  run {report.run_id}")
    rows = [_row(question.over, tally, report) for tally in result.tallies]
    print_table((str(question.over).capitalize(), *HEADINGS), rows, right=HEADINGS[2:])
    wish = f"with {percent(question.head_room)} head-room" if question.head_room else "at all"
    best, larger = result.best, result.next_larger
    if best is None:
        smallest = value_text(question.over, report.values[0])
        typer.echo(f"not even {smallest} load {wish}")
    elif larger is None:
        typer.echo(f"at least {value_text(question.over, best.value)} load {wish}, the most that was asked about")
    else:
        last, next_one = value_text(question.over, best.value), value_text(question.over, larger.value)
        typer.echo(f"{last} load {wish}; {next_one} do not ({larger.worked} of {larger.trials})")
    if best is not None:
        share, sure = percent(round(best.lower_bound, 2)), percent(CONFIDENCE)
        typer.echo(f"{best.worked} of {best.trials} trials: with {sure} confidence at least {share} of loads hold")
    for one in result.contradictions:
        talk(
            f"warning: not monotone: {value_text(question.over, one.larger.value)} held in {one.larger.worked} of "
            f"{one.larger.trials} trials, {value_text(question.over, one.smaller.value)} only in {one.smaller.worked} "
            f"of {one.smaller.trials}; ask again with more --repeats"
        )


def _row(over: Over, tally: Tally, report: FitReport) -> list[str]:
    told = _of_value(tally, report)
    sizes = (told[name] for name in ("peak_footprint_bytes", "footprint_limit_bytes", "head_room_bytes"))
    return [
        value_text(over, tally.value),
        f"{tally.worked} of {tally.trials}",
        ends_text(told["outcomes"].items()),
        *map(bytes_text, sizes),
        duration_text(told["load_ns"]),
    ]


def _of_value(tally: Tally, report: FitReport) -> dict[str, Any]:
    """The worst of the trials of one value: largest peak, least head-room, longest load."""
    records = [record for value, record in report.records if value == tally.value]

    def most(name: str) -> int | None:
        return max((size for record in records if (size := getattr(record, name)) is not None), default=None)

    return {
        "value": tally.value,
        "held": tally.worked,
        "trials": tally.trials,
        "outcomes": Counter(record.outcome for record in records),
        "peak_footprint_bytes": most("peak_footprint_bytes"),
        "footprint_limit_bytes": most("footprint_limit_bytes"),
        "head_room_bytes": min((room for room in map(head_room_bytes, records) if room is not None), default=None),
        "load_ns": most("load_ns"),
        "trial_ids": [record.trial_id for record in records],
    }


def _told(report: FitReport) -> dict[str, Any]:
    question, result = report.question, report.result
    return {
        "run_id": report.run_id,
        "device_udid": report.phone.udid,
        "model": question.model.name,
        "over": question.over,
        "head_room": float(question.head_room),
        "best": None if result.best is None else result.best.value,
        "at_least": result.best is not None and result.next_larger is None,
        "next_larger": None if result.next_larger is None else result.next_larger.value,
        "share_at_least": None if result.best is None else result.best.lower_bound,
        "confidence": CONFIDENCE,
        "smallest": report.values[0],
        "largest": report.values[-1],
        "values": [_of_value(tally, report) for tally in result.tallies],
        "contradictions": [{"smaller": one.smaller.value, "larger": one.larger.value} for one in result.contradictions],
    }

"""`harness plan`: what a run of a suite would be, before anything is run."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import AsJson, CertsFolder, FarmText, ResultsText, Runners, TransportName, given_flags, hub_of
from harness.cli.run_display import RunDisplay
from harness.core.errors import UsageError
from harness.core.phone import FORMS, parse_device_word
from harness.core.text import MISSING, printable
from harness.core.units import format_bytes
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from harness.bench.forecast import PushForecast, TypicalTime
    from harness.bench.plan import Case
    from harness.bench.suite import Suite
    from harness.bench.survey import Survey

HEADINGS = ("Case", "Trials", "Warm-ups", "Expected", "Preflight", "Limits", "A trial takes", "Known from")
UNKNOWN = "not known"
# Trials that the line about the order begins with.
MAX_NAMED = 4


def _print_schema(asked: bool) -> None:
    if asked:
        from harness.bench.schema import suite_schema_text

        sys.stdout.write(suite_schema_text())
        raise typer.Exit


def plan(
    context: typer.Context,
    suite_file: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="The suite to plan.")],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="WORD", help=f"One phone: {FORMS}. With --farm repeatable, default all."),
    ] = None,
    results_text: ResultsText = DEFAULT_FOLDER,
    runner: Runners = None,
    transport: TransportName = "auto",
    farm: FarmText = None,
    certs: CertsFolder = None,
    each: Annotated[bool, typer.Option("--each", help="With --farm: each phone runs the whole suite.")] = False,
    priority: Annotated[int, typer.Option("--priority", min=-100, max=100, help="With --farm: as for the run.")] = 0,
    as_json: AsJson = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", is_eager=True, callback=_print_schema, help="Print the JSON Schema of suite files and leave."
        ),
    ] = False,
) -> None:
    """Tell what a run of a suite would be: cases in order, how long, what would be pushed and made; run nothing."""
    given = given_flags(context)
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import load_suite

    options = RunOptions(runner=tuple(runner or ("auto",)), transport=transport)
    if farm is not None:
        if "results_text" in given:
            raise UsageError("--results does not go with --farm: the hub plans by its own records; leave it out")
        from harness.cli.plan_farm import plan_in_farm
        from harness.farm.wish import Wish

        address, certificates = hub_of(farm, certs)
        words = tuple(parse_device_word(text).text for text in device or ("all",))
        wish = Wish(words, options, priority=priority, each=each)
        plan_in_farm(load_suite(suite_file), suite_file, wish, address, certificates, as_json=as_json)
        return
    for name in ("certs", "each", "priority"):
        if name in given:
            raise UsageError(f"--{name} is for a farm: give its hub, too (--farm tls://host:8786), or leave it out")
    if device is None or len(device) != 1:
        raise UsageError(f"say on which one phone: --device WORD, which is {FORMS}; or --farm, for a farm's phones")
    results = parse_results(results_text)
    word = parse_device_word(device[0])
    from harness.bench.survey import survey

    suite = load_suite(suite_file)
    with RunDisplay() as display:
        told = asyncio.run(survey(suite, word, results, display.step, options))
    if told.phone_problem is not None:
        talk(f"the phone was not asked what it has: {told.phone_problem}")
    if as_json:
        print_json(_for_machines(suite, told))
    else:
        _for_people(suite, told)


def _for_machines(suite: Suite, told: Survey) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "suite_digest": suite.digest,
        "phone": None if told.phone is None else asdict(told.phone),
        "phone_problem": told.phone_problem,
        "order": suite.options.order,
        "cases": [
            {
                "case": case.name,
                "trials": suite.options.trials,
                "warm_ups": suite.options.warmup_trials,
                "expected": case.expected,
                "preflight": told.preflights[case.name].columns,
                "limits": _limits(case),
                "trial_s": told.times[case.name].seconds,
                "known_from": told.times[case.name].basis,
                "records": told.times[case.name].trials,
            }
            for case in told.cases
        ],
        "trials": [planned.name for planned in told.trials],
        "duration": asdict(told.duration),
        "models": [asdict(model) for model in told.models],
        "pushes": [asdict(push) for push in told.pushes],
        "push_bytes": told.push_bytes,
        "disk_bytes": told.disk_bytes,
        "disk_free_bytes": told.disk_free_bytes,
        "budgets": [asdict(budget) for budget in told.budgets],
    }


def _for_people(suite: Suite, told: Survey) -> None:
    where = told.phone.label if told.phone is not None else "a phone that was not asked"
    typer.echo(printable(f"{suite.name} on {where}: {len(told.cases)} cases, {len(told.trials)} trials"))
    rows = [
        (
            case.name,
            str(suite.options.trials),
            str(suite.options.warmup_trials),
            str(case.expected),
            told.preflights[case.name].judgement.verdict or UNKNOWN,
            "; ".join(_limits(case)) or MISSING,
            _time(told.times[case.name]),
            _basis(told.times[case.name]),
        )
        for case in told.cases
    ]
    print_table(HEADINGS, rows, whole=("Case",))
    lines = [
        f"order: {suite.options.order}: {_order(told)}",
        f"time: {_duration(told)}",
        f"push: {_pushes(told)}",
        *(f"model {model.name}: {_model_words(model.source, model.place, model.size_bytes)}" for model in told.models),
        f"disk: {_size(told.disk_bytes)} needed for files to be made or fetched, {_size(told.disk_free_bytes)} free",
        *(f"budget {budget.words}" for budget in told.budgets),
    ]
    for line in lines:
        typer.echo(printable(line))


def _limits(case: Case) -> list[str]:
    from harness.bench.limits import words

    return [told for limit in case.limits for told in words(limit)]


def _order(told: Survey) -> str:
    names = [planned.name for planned in told.trials]
    more = f", … {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _time(time: TypicalTime) -> str:
    return UNKNOWN if time.seconds is None else f"{time.seconds:.1f} s"


def _basis(time: TypicalTime) -> str:
    from harness.bench.forecast import Basis

    records = f"{time.trials} {'record' if time.trials == 1 else 'records'}"
    return {Basis.CASE: f"{records} of it", Basis.MODEL: f"{records} of its model", Basis.NONE: MISSING}[time.basis]


def _duration(told: Survey) -> str:
    from harness.bench.budget import duration_words

    known, total = told.duration, len(told.trials)
    if known.unknown == total:
        return f"{UNKNOWN}: no record of these models on this class of phone"
    text = f"about {duration_words(known.known_s)}, without pushes, installs and files to be made"
    if known.by_model:
        text += f"; {known.by_model} of {total} trials are estimated by other cases of their model"
    if known.unknown:
        text += f"; without {known.unknown} of {total} trials, whose time is {UNKNOWN}"
    return text


def _pushes(told: Survey) -> str:
    needed = [push for push in told.pushes if push.push_bytes != 0]
    if not needed:
        return "nothing: the phone has every model"
    return f"{_size(told.push_bytes)}: " + ", ".join(map(_push_words, needed))


def _push_words(push: PushForecast) -> str:
    return f"{push.model} {_size(push.push_bytes)} for {push.bundle_id}"


def _model_words(source: str, place: str, size_bytes: int | None) -> str:
    words = {"there": "there", "make": "to be made", "fetch": "to be fetched", "missing": "MISSING"}
    return f"{words[source]} ({_size(size_bytes)}, {place})"


def _size(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else format_bytes(size_bytes)

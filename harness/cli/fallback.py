"""`harness fallback`: what has to be given up until a suite's model loads, and what each step costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.bench.head_room import parse_share, percent
from harness.bench.run_options import LEASE_WAIT_S, RunOptions
from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.flags import (
    DEFAULT_HEADROOM,
    AsJson,
    Headroom,
    LeaseWait,
    OnePhone,
    ResultsText,
    Runners,
    TransportName,
)
from harness.cli.one_phone import one_phone
from harness.cli.run_display import RunDisplay
from harness.core.outcome import ends_text
from harness.core.text import MISSING, printable
from harness.core.units import format_bytes
from harness.report.words import bytes_text, duration_text
from harness.store.address import DEFAULT_FOLDER, parse_results

if TYPE_CHECKING:
    from harness.bench.fallback import Climbed, FallbackReport

HEADINGS = ("Step", "Outcome", "Holds", "Peak footprint", "Head-room", "Load", "Load by found", "Pushed", "Time")


def fallback(
    suite_file: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="Its models, matrix, and [[fallback]].")],
    device: OnePhone,
    headroom: Headroom = DEFAULT_HEADROOM,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=100, help="Trials of a step, all of which must hold.")
    ] = 1,
    try_all: Annotated[bool, typer.Option("--all", help="Also try the steps after the first that holds.")] = False,
    results_text: ResultsText = DEFAULT_FOLDER,
    runner: Runners = None,
    transport: TransportName = "auto",
    lease_wait: LeaseWait = LEASE_WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Try one step of degradation after another, and report the first that loads with room to spare."""
    results = parse_results(results_text)
    from harness.bench.fallback import fall_back
    from harness.bench.suite import load_suite

    word = one_phone("fallback", device)
    share = parse_share(headroom)
    suite = load_suite(suite_file)
    options = RunOptions(runner=tuple(runner or ("auto",)), transport=transport, lease_wait_s=lease_wait)
    try:
        with RunDisplay() as display:
            climbing = fall_back(
                suite, word, results, display, options, head_room=share, repeats=repeats, try_all=try_all
            )
            report = asyncio.run(climbing)
    except KeyboardInterrupt:
        talk(f"interrupted; the app on the phone has been ended, what was recorded is kept in {results.text}")
        raise typer.Exit(exits.INTERRUPTED) from None
    if as_json:
        print_json(_told(report))
    else:
        _print(report)
    raise typer.Exit(0 if report.found else exits.MODEL_FAILED)


def _print(report: FallbackReport) -> None:
    typer.echo(f"{printable(report.phone.label)}  udid {report.phone.udid}  run {report.run_id}")
    print_table(HEADINGS, [_row(one, report.found) for one in report.climbed], right=HEADINGS[3:], whole=("Step",))
    wish = f" with {percent(report.head_room)} head-room" if report.head_room else ""
    if report.found is None:
        typer.echo(f"no step of the ladder loads{wish}")
        return
    typer.echo(f"found: {report.found.rung.what}: {report.found.rung.case.name} loads{wish}")
    if report.untried:
        talk(f"not tried: {'; '.join(rung.what for rung in report.untried)} (--all tries them, too)")


def _row(one: Climbed, found: Climbed | None) -> list[str]:
    ratio, outcomes = _load_ratio(one, found), Counter(probe.record.outcome or MISSING for probe in one.probes)
    return [
        one.rung.what,
        ends_text(outcomes.items()),
        "yes" if one.holds else "no",
        bytes_text(one.peak_footprint_bytes),
        bytes_text(one.head_room_bytes),
        duration_text(one.load_ns),
        MISSING if ratio is None else f"{ratio:.2f}",
        format_bytes(one.pushed_bytes),
        f"{one.time_s:.1f} s",
    ]


def _load_ratio(one: Climbed, found: Climbed | None) -> float | None:
    """Its load time by that of the first that holds."""
    if one.load_ns is None or found is None or not found.load_ns:
        return None
    return one.load_ns / found.load_ns


def _told(report: FallbackReport) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "device_udid": report.phone.udid,
        "head_room": float(report.head_room),
        "found": None if report.found is None else report.found.rung.what,
        "found_case": None if report.found is None else report.found.rung.case.name,
        "steps": [_step(one, report.found) for one in report.climbed],
        "untried": [rung.what for rung in report.untried],
    }


def _step(one: Climbed, found: Climbed | None) -> dict[str, Any]:
    return {
        "step": one.rung.what,
        "case": one.rung.case.name,
        "holds": one.holds,
        "why": one.why,
        "outcomes": [probe.record.outcome for probe in one.probes],
        "peak_footprint_bytes": one.peak_footprint_bytes,
        "head_room_bytes": one.head_room_bytes,
        "load_ns": one.load_ns,
        "load_by_found": _load_ratio(one, found),
        "pushed_bytes": one.pushed_bytes,
        "time_s": round(one.time_s, 3),
        "trial_ids": [record.trial_id for record in one.trials],
    }

"""`harness run --farm`, and several phones of this machine at once: from the suite to a table a run.

What is alike for both is here: following, the summaries, exit codes. The words for one phone are in `run.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli import exits
from harness.cli.console import print_json, print_table, talk
from harness.cli.farm_display import FarmDisplay
from harness.cli.run_display import RunDisplay
from harness.core.outcome import Outcome
from harness.core.standing import GivenUpBy, RunStanding
from harness.core.text import printable
from harness.report.farm_table import one_line, plan_line, rough_text

if TYPE_CHECKING:
    from harness.bench.suite import Suite
    from harness.farm.address import Certificates, FarmAddress
    from harness.farm.client import FarmResult, News
    from harness.farm.link import Link
    from harness.farm.wire import RunView, SubmittedRun
    from harness.farm.wish import Wish
    from harness.report.run_pages import Drawn

MAX_NAMED = 5
"""Trials that a line names."""


@dataclass
class Following:
    """What is followed: kept outside of the event loop, for Ctrl-C ends that."""

    submitted: list[SubmittedRun] = field(default_factory=list)

    @property
    def run_ids(self) -> list[str]:
        return [run.run_id for run in self.submitted]


@dataclass(frozen=True)
class Asked:
    """A `harness run --farm`."""

    suite: Suite
    suite_file: Path
    wish: Wish
    farm: str
    """As it was typed, for the words that say what to do next."""
    address: FarmAddress
    certificates: Certificates | None
    detach: bool = False
    as_json: bool = False


def run_in_farm(asked: Asked) -> int:
    """The exit code. Raises HarnessError's kin when the hub cannot be reached or refuses."""
    following = Following()
    try:
        results = asyncio.run(_run_in_farm(asked, following))
    except KeyboardInterrupt:
        _tell_interrupted(asked, following)
        return exits.INTERRUPTED
    if results is None:
        _tell_submitted(asked, following)
        return 0
    if asked.as_json:
        print_json([for_machines(result, None) for result in results])
    else:
        from harness.farm.client import frame_of

        for result in results:
            if result.records:
                print_summary(result, [row.cells for row in _summary(frame_of(result.records))])
    return max((exit_code(result) for result in results), default=0)


async def _run_in_farm(asked: Asked, following: Following) -> list[FarmResult] | None:
    from harness.farm.client import greet, submission_of, submit
    from harness.farm.link import open_link

    async with open_link(asked.address, asked.certificates) as link:
        await greet(link)
        with RunDisplay() as display:
            submission, uploads = await asyncio.to_thread(
                submission_of, asked.suite, asked.suite_file, asked.wish, display.step
            )
            submitted = await submit(link, submission, uploads, display.step)
        following.submitted += submitted.runs
        for note in submitted.notes:
            talk(note)
        for run in submitted.runs:
            talk(submitted_line(run))
        return None if asked.detach else await follow_to_the_end(link, following.run_ids)


async def follow_to_the_end(
    link: Link, run_ids: Sequence[str], check: Callable[[News], None] = lambda news: None
) -> list[FarmResult]:
    """Shows what happens until all runs are over, or `check` raises."""
    from harness.farm.client import follow, results_of

    views: dict[str, RunView] = {}
    with FarmDisplay() as display:
        async for news in follow(link, run_ids, talk):
            views = {run.run_id: run for run in news.runs}
            display.show(news)
            check(news)
        return await results_of(link, views, talk)


def submitted_line(run: SubmittedRun) -> str:
    """What is going to be run, where, and how long it will take."""
    phones = f"{run.phones} {'phone' if run.phones == 1 else 'phones'}"
    planned = "not known how long" if run.planned_s is None else f"planned {rough_text(run.planned_s)}"
    if run.planned_s is not None and run.unknown:
        planned += f" ({run.unknown} of the trials have no record that tells how long they take)"
    return f"run {run.run_id}: {run.target}: {run.trials} trials on {phones}, {planned}"


def _tell_submitted(asked: Asked, following: Following) -> None:
    if asked.as_json:
        print_json([run.plain() for run in following.submitted])
    else:
        for run in following.submitted:
            typer.echo(run.run_id)
    talk(f"the farm runs it; to see it: harness farm status --farm {asked.farm}")


def _tell_interrupted(asked: Asked, following: Following) -> None:
    if not following.submitted:
        talk("interrupted before the suite was with the hub; nothing is run")
        return
    talk(
        f"not followed any more; the farm goes on with it. To see it: harness farm status --farm {asked.farm}; "
        "to end it: " + "; ".join(f"harness farm cancel {run_id} --farm {asked.farm}" for run_id in following.run_ids)
    )


def print_summary(result: FarmResult, rows: Sequence[Sequence[str]]) -> None:
    """The run's table, as that of a run on one phone, with what was planned."""
    from harness.report.table import EXPENDABLE, HEADINGS

    view = result.view
    # virtual phones of two hosts may have one UDID
    phones = len(
        {(record.device_udid, record.device_kind == "virtual" and record.host_name) for record in result.records}
    )
    on = f"{phones} {'phone' if phones == 1 else 'phones'}"
    typer.echo(printable(f"{view.suite} on {view.target} ({on})  run {view.run_id}  {plan_line(view)}"))
    print_table(HEADINGS, rows, right=HEADINGS[5:], expendable=EXPENDABLE)


def _summary(frame: Any) -> Any:
    from harness.report.table import summary_table

    return summary_table(frame)


def for_machines(result: FarmResult, drawn: Drawn | None) -> dict[str, object]:
    """As of a run on one phone, and what only a farm has."""
    view = result.view
    return {
        "run_id": view.run_id,
        "target": view.target,
        "state": view.state,
        "planned_s": view.planned_s,
        "took_s": view.took_s,
        "report": None if drawn is None else str(drawn.index),
        "run_page": None if drawn is None else str(drawn.run_page),
        "trials": [asdict(record) for record in result.records],
        "replaced": [record.trial_id for record in result.replaced],
        "not_run": [{"trial": one.trial, "by": one.by.value, "reason": one.reason} for one in result.given_up],
    }


def exit_code(result: FarmResult) -> int:
    """As `harness run` has it for one phone, and in the same words."""
    families = {Outcome(record.outcome).family for record in result.unexpected if record.outcome is not None}
    code = exits.of_families(families)
    counted = len(result.counted)
    if code:
        talk(f"{len(result.unexpected)} of {counted} trials did not end as expected")
    if result.over_limits:
        talk(f"{len(result.over_limits)} of {counted} trials broke a limit of the suite")
        code = max(code, exits.MODEL_FAILED)
    if result.given_up:
        _tell_given_up(result)
        lost = any(one.by is GivenUpBy.LOST for one in result.given_up)
        code = max(code, exits.DEVICE if lost else exits.MODEL_FAILED)
    if result.view.state == RunStanding.CANCELLED:
        talk(f"run {result.view.run_id} was cancelled: {result.view.done} of {result.view.total} trials have been run")
        code = max(code, exits.MODEL_FAILED)
    if result.replaced:
        talk(
            f"{len(result.replaced)} attempts were cut short or came too late, and were run again; their records are "
            "kept as evidence and do not count"
        )
    return code


def _tell_given_up(result: FarmResult) -> None:
    for reason, ones in groupby(result.given_up, key=lambda one: one.reason):
        names = [one.trial for one in ones]
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        talk(f"given up, {len(names)} of {result.view.total}: {', '.join(names[:MAX_NAMED])}{more}: {one_line(reason)}")

"""`harness run` on several phones of this machine at once: one live table, then a table and pages for each run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli import exits
from harness.cli.console import talk
from harness.cli.farm_run import exit_code, follow_to_the_end, for_machines, print_summary, submitted_line
from harness.cli.run_display import RunDisplay, draw_run
from harness.core.errors import DeviceError
from harness.core.phone import DeviceWord, Virtual
from harness.store.address import Results, address_of

if TYPE_CHECKING:
    from harness.bench.run_options import RunOptions
    from harness.bench.suite import Suite
    from harness.farm.client import FarmResult, News
    from harness.farm.local import LocalFarm
    from harness.farm.local_phones import Share
    from harness.farm.wire import RunView


@dataclass
class Several:
    """A `harness run` on several phones."""

    suite: Suite
    suite_file: Path
    shares: Sequence[Share]
    results: Results
    options: RunOptions
    attempts: int
    resume: bool
    as_json: bool
    run_ids: list[str] = field(default_factory=list)
    """Of the runs that have begun: kept here, for Ctrl-C ends the event loop."""
    of_run: dict[str, Share] = field(default_factory=dict)
    """Whose run it is, by id."""
    troubles: list[DeviceError] = field(default_factory=list)
    """Of phones on which nothing or not all was run."""

    def word_of(self, told: dict[str, object]) -> DeviceWord:
        """For a run's data the device word by which a phone of it is opened again."""
        share = self.of_run[str(told["run_id"])]
        return share.phone_of(str(told["target"])) or share.alone


def run_several(several: Several) -> tuple[int, list[dict[str, object]]]:
    """The exit code, and each run for machines. Raises HarnessError's kin when it cannot begin."""
    several.shares = [share.with_settings(several.suite.virtual) for share in several.shares]
    try:
        results = asyncio.run(_run(several))
    except KeyboardInterrupt:
        talk(
            "interrupted; the apps on the phones have been ended, what was recorded is kept in "
            f"{address_of(several.results).text}; go on with the same command and --resume"
        )
        return exits.INTERRUPTED, []
    code, told = 0, []
    if not several.as_json:
        for result in results:
            if result.counted:
                _print(several, result)
    for result in results:
        drawn = draw_run(several.results, result.view.run_id) if result.counted else None
        if not several.as_json and drawn is not None:
            talk(f"this run alone: {drawn.run_page}")
        told.append(for_machines(result, drawn))
        code = max(code, exit_code(result))
    if not several.as_json and (drawn_at := [one["report"] for one in told if one["report"] is not None]):
        typer.echo(f"report: {drawn_at[-1]}")
    for trouble in several.troubles:
        talk(f"error: {trouble}")
        code = max(code, exits.DEVICE)
    return code, told


async def _run(several: Several) -> list[FarmResult]:
    from harness.farm.client import results_of
    from harness.farm.local import OutOfPatience, Patience, open_local, unfinished

    restore = []
    if several.resume:
        restore = await asyncio.to_thread(unfinished, several.results, several.suite.digest)
    count = sum(len(share.phones) for share in several.shares)
    # each has a process, and that takes some seconds in which nothing else is said
    talk(f"getting {count} phones ready")
    opening = open_local(several.results, several.shares, several.options, talk, [run.run_id for run in restore])
    async with opening as farm:
        left = list(several.shares)
        if several.resume:
            left = _resumed(several, farm, {run.run_id: run.target for run in restore})
        await _submit(several, farm, left)
        patience = Patience(several.options.lease_wait_s)
        views: dict[str, RunView] = {}

        def check(news: News) -> None:
            farm.check()
            views.update({run.run_id: run for run in news.runs})
            patience.check(news)

        try:
            return await follow_to_the_end(farm.link, several.run_ids, check)
        except OutOfPatience as trouble:
            several.troubles.append(trouble)
            return await results_of(farm.link, views, talk)


def _resumed(several: Several, farm: LocalFarm, targets: dict[str, str]) -> list[Share]:
    """Goes on with what these phones may run; the shares that nothing was left of, to be run anew."""
    names = {phone.phone for phone in farm.phones}
    left = list(several.shares)
    for run_id, target in targets.items():
        share = next((one for one in left if target == one.target or one.phone_of(target) is not None), None)
        # which word a virtual phone was started by, its name does not tell
        share = share or next((one for one in left if target in names and one.each), None)
        if share is None:
            talk(f"run {run_id} is left alone: it is for {target}, which is not among these phones")
            continue
        talk(f"run {run_id} on {target} goes on")
        several.run_ids.append(run_id)
        several.of_run[run_id] = share
        if not share.each:
            left.remove(share)
    # of phones that each run the whole suite, those go on that were cut short
    resumed = list(several.of_run.values())
    left = [one for one in left if one not in resumed]
    for share in left:
        talk(f"nothing to resume on {share.target}: no unfinished run of this suite; a new run begins")
    return left


async def _submit(several: Several, farm: LocalFarm, shares: Sequence[Share]) -> None:
    from harness.farm.client import submission_of, submit
    from harness.farm.wish import Wish

    for share in shares:
        if not _is_there(share, farm):
            trouble = DeviceError(f"--device={share.word.text}: the phone was not ready in time; nothing was run on it")
            talk(f"error: {trouble}")
            several.troubles.append(trouble)
            continue
        wish = Wish((share.target,), several.options, attempts=several.attempts, each=share.each)
        with RunDisplay() as display:
            submission, uploads = await asyncio.to_thread(
                submission_of, several.suite, several.suite_file, wish, display.step, own_paths=True
            )
        submitted = await submit(farm.link, submission, uploads, lambda what, done, total: None)
        for note in submitted.notes:
            talk(note)
        for run in submitted.runs:
            several.run_ids.append(run.run_id)
            several.of_run[run.run_id] = share
            talk(submitted_line(run))


def _is_there(share: Share, farm: LocalFarm) -> bool:
    if isinstance(share.word, Virtual):
        return True
    return any(share.phone_of(phone.phone) is not None for phone in farm.phones)


def _print(several: Several, result: FarmResult) -> None:
    from harness.report.table import summary_table
    from harness.store.database import ResultStore

    with ResultStore.open(several.results) as store:
        rows = [row.cells for row in summary_table(store.frame(run_id=result.view.run_id))]
    print_summary(result, rows)

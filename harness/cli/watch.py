"""`harness watch`: what a run is at, seen from another terminal. Reads only; the run does not know of it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import exits
from harness.cli.console import talk
from harness.cli.flags import ResultsText
from harness.store.address import DEFAULT_FOLDER, ResultsAddress, parse_results
from harness.store.errors import NoResults, StoreError

if TYPE_CHECKING:
    from rich.live import Live

    from harness.report.live import Progress, ProgressReader, RunProgress
    from harness.store.database import ResultStore

POLL_S = 0.5
TROUBLE_LIMIT_S = 60.0
"""How long results may not be readable (a server that restarts) before we give up."""


def watch(
    results_text: ResultsText = DEFAULT_FOLDER,
    once: Annotated[bool, typer.Option("--once", help="Tell how it is now, and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One change a line; with --once all at once.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for a run to begin.")
    ] = 0.0,
) -> None:
    """Follow the runs in progress until they end: trials, phases, memory, failures. Exit code: as the runs'."""
    address = parse_results(results_text)
    try:
        raise typer.Exit(_watch(address, once=once, as_json=as_json, until=time.monotonic() + wait))
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        # whoever read the lines has seen enough; the interpreter must not try to write the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _watch(address: ResultsAddress, *, once: bool, as_json: bool, until: float) -> int:
    from harness.report.live import ProgressReader

    with _opened(address, until) as store:
        reader = ProgressReader(store)
        if once:
            _tell_once(reader.read(), as_json=as_json)
            return 0
        return _follow(reader, _Face(as_json=as_json), until)


@contextmanager
def _opened(address: ResultsAddress, until: float) -> Iterator[ResultStore]:
    from harness.store.database import ResultStore

    while True:
        try:
            store = ResultStore.open_existing(address)
            break
        except NoResults:
            if time.monotonic() >= until:
                raise
            time.sleep(POLL_S)
    with store:
        yield store


def _follow(reader: ProgressReader, face: _Face, until: float) -> int:
    """Until no run that was seen in progress is so any more; the worst of their codes."""
    followed: dict[str, RunProgress] = {}
    trouble_since: float | None = None
    with face.open():
        while True:
            try:
                now = reader.read(also=followed)
                trouble_since = None
            except StoreError:
                trouble_since = trouble_since or time.monotonic()
                if time.monotonic() - trouble_since > TROUBLE_LIMIT_S:
                    raise
                time.sleep(POLL_S)
                continue
            known = {run.run_id: run for run in now.runs}
            followed |= {run.run_id: run for run in now.in_progress}
            followed |= {run_id: known[run_id] for run_id in followed if run_id in known}
            if followed or time.monotonic() >= until:
                face.show(now)
                if not now.in_progress:
                    break
            time.sleep(POLL_S)
    if not followed:
        talk("nothing is in progress")
    return max((_code(run) for run in followed.values()), default=0)


def _code(run: RunProgress) -> int:
    from harness.report.live import RunState

    code = exits.of_families(run.failed_families)
    if run.state is RunState.GONE:
        return max(code, exits.HARNESS)
    cut_short = run.total is not None and run.done < run.total
    return max(code, exits.MODEL_FAILED) if cut_short else code


def _tell_once(progress: Progress, *, as_json: bool) -> None:
    from rich.console import Console

    from harness.cli.watch_view import view
    from harness.report.live_changes import run_data

    if as_json:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        sys.stdout.write(json.dumps({"at": at, "runs": [run_data(run) for run in progress.runs]}) + "\n")
        return
    if not progress.in_progress:
        talk("nothing is in progress")
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(view(progress))


class _Face:
    """A picture on a terminal; elsewhere a line a change."""

    def __init__(self, *, as_json: bool) -> None:
        from rich.console import Console

        self._as_json = as_json
        console = Console(highlight=False)
        self._live: Live | None = None
        if not as_json and console.is_terminal and not console.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._before: Progress | None = None

    def open(self) -> Live | nullcontext[None]:
        return self._live if self._live is not None else nullcontext()

    def show(self, progress: Progress) -> None:
        from harness.cli.watch_view import line, view
        from harness.report.live_changes import ChangeKind, changes

        if self._live is not None:
            self._live.update(view(progress), refresh=True)
            return
        now = datetime.now().astimezone()
        for change in changes(self._before, progress):
            if self._as_json:
                told = {"at": now.isoformat(timespec="milliseconds"), **change.data}
                sys.stdout.write(json.dumps(told) + "\n")
            elif change.kind is not ChangeKind.MEMORY:
                sys.stdout.write(f"{now:%H:%M:%S}  {line(change.text)}\n")
        sys.stdout.flush()
        self._before = progress

"""The picture of what is under way on a terminal, drawn anew with each look."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.core.text import printable
from harness.report.end_words import end_text
from harness.report.live import Progress, RunProgress, TrialNow
from harness.report.live_words import (
    count_text,
    elapsed_text,
    memory_text,
    now_text,
    run_elapsed,
    run_text,
    state_text,
    step_text,
)

MAX_LINE_CHARS = 300
MAX_ENDED_SHOWN, MAX_FAILURES_SHOWN = 6, 6
_BAR_WIDTH = 30


def line(text: str) -> str:
    """One line that does not speak to the terminal, and is not longer than anybody reads."""
    plain = printable(" ".join(text.split("\n")).replace("\t", " "))
    return plain if len(plain) <= MAX_LINE_CHARS else plain[: MAX_LINE_CHARS - 1] + "…"


def view(progress: Progress) -> RenderableType:
    """All runs, one below the other."""
    return Group(*(part for run in progress.runs for part in (*_run(run), Text())))


def _run(run: RunProgress) -> Iterator[RenderableType]:
    yield Text(line(run_text(run)), style="bold")
    yield Text(line(f"run {run.run_id}, {run_elapsed(run)}, {state_text(run)}"), style="" if run.in_progress else "dim")
    grid = Table.grid(padding=(0, 1))
    bar: RenderableType = ProgressBar(run.total, run.done, width=_BAR_WIDTH) if run.total else Text()
    grid.add_row(bar, Text(line(count_text(run))))
    yield Padding(grid, (0, 0, 0, 2))
    if (step := step_text(run)) is not None:
        yield Text(f"  {line(step)}")
    for trial in run.now:
        yield Padding(_now(trial), (0, 0, 0, 2))
    failures = [end for end in run.ended if end.failed]
    for end in failures[-MAX_FAILURES_SHOWN:]:
        yield Text(f"  {line(f'{end.name}  {end_text(end)}')}", style="red")
    for end in [end for end in run.ended if not end.failed][-MAX_ENDED_SHOWN:]:
        yield Text(f"  {line(f'{end.name}  {end_text(end)}')}", style="dim")
    if run.next and run.in_progress:
        yield Text(f"  {line('next: ' + ', '.join(run.next))}", style="dim")


def _now(trial: TrialNow) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    words = f"{now_text(trial)}  {elapsed_text(trial.started_at)}"
    if trial.phase is not None:
        words += f"  {trial.phase} {elapsed_text(trial.phase_since)}"
    memory = trial.memory
    if memory is None:
        return Text(line(words))
    share: RenderableType = Text()
    if memory.footprint_bytes is not None and memory.limit_bytes:
        share = ProgressBar(memory.limit_bytes, memory.footprint_bytes, width=_BAR_WIDTH, complete_style="cyan")
    grid.add_row(share, Text(line(memory_text(memory))))
    return Group(Text(line(words)), grid)

"""Where talk goes (stderr) and where data goes (stdout), and a listener that shows a run as it goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.core.outcome import EMULATED_GPU
from harness.core.record import TrialRecord
from harness.core.text import printable
from harness.core.units import BYTES_PER_UNIT, ByteCount, format_bytes

_stderr = Console(stderr=True, highlight=False, soft_wrap=True)
NS_PER_MS = 1_000_000


def talk(text: str) -> None:
    """A line for the person, on stderr."""
    _stderr.print(printable(text), markup=False)


def print_json(value: object) -> None:
    """Data for a machine, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Data for a person, on stdout; as wide as it needs to be when it is not a terminal.

    Columns named in `right` are aligned there, those in `whole` are the last to be folded on a narrow terminal.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading in right else "left", overflow="fold", no_wrap=heading in whole
        )
    for row in rows:
        table.add_row(*map(printable, row))
    console.print(table)


def describe(record: TrialRecord) -> str:
    """A trial's end in one line."""
    figures = ["gpu emulated"] if record.backend_effective == EMULATED_GPU else []
    if record.load_ns is not None:
        figures.append(f"load {record.load_ns / NS_PER_MS:.0f} ms")
    if record.peak_footprint_bytes is not None:
        figures.append(f"peak {format_bytes(record.peak_footprint_bytes)}")
    if record.ttft_ns is not None:
        figures.append(f"first token {record.ttft_ns / NS_PER_MS:.0f} ms")
    if record.outcome != record.expected_outcome:
        figures.append(f"expected {record.expected_outcome}")
    if record.broken_limits:
        figures.append(f"over the limits: {record.broken_limits}")
    if record.outcome != "loaded":
        figures.append(record.reason or "")
    return f"{record.outcome}: {', '.join(figures)}"


class PaceColumn(ProgressColumn):
    """How fast bytes move and how long the rest will take; nothing for other work, and until there is a rate."""

    def render(self, task: Task) -> Text:
        # typed as a float, yet what was given comes back
        total: object = task.total
        if not isinstance(total, ByteCount) or not task.speed:
            return Text()
        left = "" if task.time_remaining is None else f", {timedelta(seconds=int(task.time_remaining))} left"
        return Text(f"{task.speed / BYTES_PER_UNIT['MB']:.1f} MB/s{left}")


class RunDisplay(Listener):
    """Shows steps as bars on a terminal and as plain lines elsewhere; a context manager."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            PaceColumn(), console=_stderr, transient=True, disable=not _stderr.is_terminal,
        )  # fmt: skip  # one option a line would hide the columns
        self._task: tuple[str, TaskID] | None = None
        self._current: tuple[str, TaskID] | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, what: str, done: int, total: int) -> None:
        if self._task is None or self._task[0] != what:
            self._end_task()
            # what was done before is no part of its rate
            self._task = (what, self._progress.add_task(what, total=total, completed=done))
        self._progress.update(self._task[1], completed=done, total=total)
        if done >= total:
            self._end_task()

    def _end_task(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task[1])
            self._task = None

    def note(self, text: str) -> None:
        talk(text)

    def trial_begins(self, planned: PlannedTrial, number: int, total: int) -> None:
        label = f"[{number}/{total}] {planned.name}"
        # the brackets are text, not markup
        self._current = (label, self._progress.add_task(label.replace("[", "\\["), total=None))

    def phase(self, name: str) -> None:
        if self._current is not None:
            label, task = self._current
            self._progress.update(task, description=f"{label}  {name}".replace("[", "\\["))

    def trial_ended(self, planned: PlannedTrial, record: TrialRecord) -> None:
        self._end_task()
        if self._current is not None:
            label, task = self._current
            self._progress.remove_task(task)
            talk(f"{label}  {describe(record)}")
            self._current = None

    def salvaged(self, record: TrialRecord) -> None:
        talk(f"closed a trial of an earlier run: {record.case}#{record.ordinal}: {record.reason}")


def rows_of(mappings: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[list[str]]:
    """Cells of a table from mappings; None becomes a dash, never 0."""
    return [["–" if mapping.get(key) is None else str(mapping[key]) for key in keys] for mapping in mappings]

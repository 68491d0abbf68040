"""A run as it goes, on stderr; apart from the console, which verbs that run nothing use too."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.cli.console import STDERR, talk
from harness.core.outcome import EMULATED_GPU
from harness.core.record import TrialRecord
from harness.core.units import BYTES_PER_UNIT, ByteCount
from harness.report.end_words import end_text
from harness.store.address import Results

if TYPE_CHECKING:
    from harness.report.run_pages import Drawn


def describe(record: TrialRecord) -> str:
    """A trial's end in one line."""
    emulated = record.backend_effective == EMULATED_GPU
    return end_text(record, *(["gpu emulated"] if emulated else []))


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
            PaceColumn(), console=STDERR, transient=True, disable=not STDERR.is_terminal,
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


def draw_run(results: Results, run_id: str) -> Drawn:
    """Draws the pages that tell of a run that has ended, and shows that it does."""
    from harness.report.run_pages import draw_after_run

    with RunDisplay() as display:
        display.step("draw the report", 0, 1)
        drawn = draw_after_run(results, run_id)
        display.step("draw the report", 1, 1)
    return drawn

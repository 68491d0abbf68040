"""Runs in a farm as they go, on stderr: a table of phones on a terminal, a line for each ended trial in any case."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.cli.console import STDERR, talk
from harness.core.text import printable
from harness.report.farm_table import live_rows, one_line, run_line

if TYPE_CHECKING:
    from harness.farm.client import News
    from harness.farm.wire import FarmEvent, PhoneView, RunView

MAX_PHONES_SHOWN = 40
"""Rows of a live table; busy phones first."""
_STYLE = {"busy": "bold", "out": "red", "gone": "red", "not_ready": "yellow", "free": "dim"}


class FarmDisplay:
    """A context manager; `show` takes the news."""

    def __init__(self) -> None:
        self._live: Live | None = None
        if STDERR.is_terminal and not STDERR.is_dumb_terminal:
            self._live = Live(console=STDERR, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._several = False

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, news: News) -> None:
        """Lines for what happened, and the table as it is now."""
        self._several = self._several or len(news.runs) > 1
        for line in self._lines(news):
            talk(line)
        if self._live is not None:
            self._live.update(picture(news.runs, news.phones, STDERR.width), refresh=True)

    def _lines(self, news: News) -> Iterable[str]:
        runs = {run.run_id: run for run in news.runs}
        # of a run's ends in this news the last one is the done one, whatever was missed before
        left = {run.run_id: run.done for run in news.runs}
        for event in news.events:
            if event.what == "ended" and event.run_id in left:
                left[event.run_id] -= 1
        for event in news.events:
            run = runs.get(event.run_id)
            if event.what == "ended" and run is not None:
                left[event.run_id] += 1
                yield self._ended(event, run, max(1, left[event.run_id]))
            elif event.what != "begun":
                yield self._trouble(event, run)

    def _ended(self, event: FarmEvent, run: RunView, number: int) -> str:
        name = "" if event.job is None else event.job.text
        target = f"{run.target}  " if self._several else ""
        end = event.outcome or "ended"
        expected = "" if event.expected in (None, event.outcome) else f", expected {event.expected}"
        text = f": {one_line(event.text)}" if event.text else ""
        return f"{target}[{number}/{run.total}] {name}  {event.phone or ''}  {end}{expected}{text}"

    def _trouble(self, event: FarmEvent, run: RunView | None) -> str:
        target = f"{run.target}  " if self._several and run is not None else ""
        what = "" if event.what == "note" else f"{event.what.replace('_', ' ')}: "
        name = "" if event.job is None else f"{event.job.text}  "
        phone = "" if event.phone is None else f"{event.phone}  "
        return f"{target}{what}{name}{phone}{one_line(event.text)}"


def picture(runs: Iterable[RunView], phones: Iterable[PhoneView], width: int) -> RenderableType:
    """A head line a run, then a row a phone, in `width` characters."""
    runs, phones = list(runs), list(phones)
    parts: list[RenderableType] = [
        Text(printable(run_line(run)), style="bold", no_wrap=True, overflow="ellipsis") for run in runs
    ]
    shown = sorted(phones, key=lambda phone: phone.state != "busy")[:MAX_PHONES_SHOWN]
    headings, rows = live_rows(shown, [run.run_id for run in runs], width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="ellipsis", no_wrap=True)
    for state, cells in rows:
        table.add_row(*(Text(printable(cell)) for cell in cells), style=_STYLE.get(state, ""))
    parts.append(table)
    if len(phones) > len(shown):
        parts.append(Text(f"and {len(phones) - len(shown)} more phones", style="dim"))
    return Group(*parts)

"""The page that people open first: what changed, what loads where, and how the phones are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.report.metric_words import metric_text
from harness.report.site.changes import Changes, changes
from harness.report.site.changes_notes import Note, idle_suites, notes
from harness.report.site.changes_segments import last_night
from harness.report.site.changes_words import counts_text
from harness.report.site.data import SiteData
from harness.report.site.entry_runs import Run, SideBySide, runs, side_by_side
from harness.report.site.entry_trials import SHOWN_NIGHTS, RecentTrials
from harness.report.site.fleet import Fleet, fleet, phones_known
from harness.report.site.layout import render
from harness.report.site.matrix import Matrix, matrix
from harness.report.site.pages import ENTRY, SITE_FOLDER, Page
from harness.report.site.sparkline import sparkline


@dataclass(frozen=True)
class EntryContent:
    """All that the entry tells."""

    demo: bool
    virtual: bool
    night: str | None
    """None: no trial counts in any series yet."""
    counts: str = ""
    """Of last night's changes."""
    cases: int = 0
    """On device classes, that is a case on two of them counts twice."""
    changes: Changes = field(default_factory=Changes)
    notes: tuple[Note, ...] = ()
    idle: tuple[Note, ...] = ()
    matrix: Matrix | None = None
    fleet: Fleet | None = None
    runs: tuple[Run, ...] = ()
    comparisons: tuple[SideBySide, ...] = ()


def page(data: SiteData, folder: Path | None = None) -> Page:
    """The entry; `folder`: where the site is, for runs whose pages are there already (None: in the results)."""
    folder = folder or data.store.folder / SITE_FOLDER
    night = last_night(data) if data.histories else None
    if night is None:
        return Page(ENTRY, EntryContent(data.demo, data.virtual, None), draw)
    recent, told = RecentTrials.of(data, night), changes(data)
    content = EntryContent(
        demo=data.demo,
        virtual=data.virtual,
        night=str(night),
        counts=counts_text([event.tone for event in told.tonight]),
        cases=len(data.histories),
        changes=told,
        notes=notes(data),
        idle=idle_suites(data),
        matrix=matrix(data, recent),
        fleet=fleet(recent, SHOWN_NIGHTS, phones_known(data.trials, recent.runs)),
        runs=runs(data, recent, folder),
        comparisons=side_by_side(data),
    )
    return Page(ENTRY, content, draw)


def draw(content: EntryContent) -> str:
    """The whole page."""
    title = "iPhone loads" if content.night is None else f"iPhone loads, night of {content.night}"
    return render(
        "entry.html.j2",
        page=ENTRY,
        title=title,
        demo=content.demo,
        virtual=content.virtual,
        content=content,
        metric_text=metric_text,
        sparkline=sparkline,
    )

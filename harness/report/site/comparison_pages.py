"""One page a comparison: builds, or the cases of a run, on one axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.core.record import TrialRecord
from harness.report.site.comparison_choice import shown
from harness.report.site.data import SiteData
from harness.report.site.layout import render
from harness.report.site.pages import WITH_READINGS, Page
from harness.report.site.trial_files import TelemetryFile


@dataclass(frozen=True)
class SideContent:
    key: str
    """`A`, `B`, or a number: how figures and tables call it."""
    name: str
    """Its build, or its case."""
    trials: int
    ends: str
    """`3 × loaded`."""
    expected: str
    as_expected: bool
    over_limits: int
    """Trials that broke a limit of the suite."""
    loaded: int
    values: tuple[tuple[str, tuple[float, ...]], ...]
    """Metric → the figures of the trials that loaded."""
    limits: tuple[float, ...]
    """Footprint limits of its trials, in bytes."""
    head_room: tuple[float, ...]
    """Limit − peak of the trials that loaded, in bytes."""
    record: TrialRecord
    """Of the trial that stands for it."""
    telemetry: TelemetryFile | None
    linked: bool
    """Whether that trial has a page."""

    @property
    def died(self) -> bool:
        """Some trial of it did not load."""
        return self.loaded < self.trials


@dataclass(frozen=True)
class GroupContent:
    """Sides on one axis."""

    heading: str
    sides: tuple[SideContent, ...]


@dataclass(frozen=True)
class SuiteCopy:
    """A suite's copy beside the results, read when the page is drawn: it quotes what others have published."""

    results: str
    digest: str
    """Of what decides what is run; its name."""
    content_sha256: str
    """Of the file."""


@dataclass(frozen=True)
class TrialRows:
    """Trials as plain values, for a judgement that is made when the page is drawn."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...]


@dataclass(frozen=True)
class ComparisonContent:
    page: str
    title: str
    lead: tuple[str, ...]
    """What is compared, and where."""
    virtual: bool
    demo: bool
    of_builds: bool
    """Of two sides in turns; else of cases."""
    notes: tuple[str, ...]
    groups: tuple[GroupContent, ...]
    trials: TrialRows | None
    """Of two sides."""
    suite: SuiteCopy | None
    """Of cases side by side, where it quotes others."""


def pages(data: SiteData, trials: frozenset[str]) -> Iterator[Page]:
    """`trials`: ids of those that have a page."""
    from harness.report.site.comparison_content import contents

    comparisons = shown(data)
    if comparisons:
        for content in contents(data, comparisons, trials):
            yield Page(content.page, content, draw, WITH_READINGS)


def draw(content: ComparisonContent) -> str:
    """The page."""
    # matplotlib is loaded where pages are drawn, not where they are planned
    from harness.report.site.comparison_parts import drawn, published
    from harness.report.site.comparison_tables import table

    return render(
        "comparison.html.j2",
        page=content.page,
        title=content.title,
        demo=content.demo,
        virtual=content.virtual,
        content=content,
        table=table(content),
        groups=drawn(content),
        published=published(content.suite),
    )

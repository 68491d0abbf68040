"""One page a trial: its memory over time, how it ended and why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.report.site.data import SiteData
from harness.report.site.pages import Page


def chosen(data: SiteData) -> frozenset[str]:
    """Ids of the trials that get a page."""
    return frozenset()


def pages(data: SiteData, trials: frozenset[str], folder: Path) -> Iterator[Page]:
    """Their pages; `folder`: where the site is, from which links to raw files go."""
    yield from ()

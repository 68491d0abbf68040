"""Which pages the site has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.report.site import comparison_pages, entry, series_pages, trial_pages
from harness.report.site.data import SiteData
from harness.report.site.pages import Page


def plan(data: SiteData, folder: Path) -> Iterator[Page]:
    """All of them; `folder` is where they will be, from which links to raw files go."""
    trials = trial_pages.chosen(data)
    # most pages are series, and are drawn while the rest is planned
    yield from series_pages.pages(data, trials)
    yield from comparison_pages.pages(data, trials)
    yield from trial_pages.pages(data, trials, folder)
    yield entry.page(data, folder)

"""One page a series: a metric, or how trials end, over all nights."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.site.data import SiteData
from harness.report.site.pages import Page


def pages(data: SiteData, trials: frozenset[str]) -> Iterator[Page]:
    """`trials`: ids of those that have a page."""
    yield from ()

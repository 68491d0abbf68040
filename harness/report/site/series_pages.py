"""One page a series: a metric, or how trials end, over all nights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.report.site.data import SiteData
from harness.report.site.layout import render
from harness.report.site.pages import Page
from harness.report.site.series_content import SeriesContent, contents
from harness.report.site.series_words import explanation, heading

if TYPE_CHECKING:
    from harness.report.site.series_rows import Drawn


def pages(data: SiteData, trials: frozenset[str]) -> Iterator[Page]:
    """`trials`: ids of those that have a page."""
    for content in contents(data, trials):
        yield Page(content.page, content, draw, content.nights_digest)


def draw(content: SeriesContent) -> str:
    """The page."""
    # matplotlib is loaded where pages are drawn, not where they are planned
    from harness.report.site.series_rows import drawn

    parts: Drawn = drawn(content)
    return render(
        "series.html.j2",
        page=content.page,
        title=heading(content),
        demo=content.demo,
        virtual=content.virtual,
        content=content,
        explanation=explanation(content.metric),
        parts=parts,
    )

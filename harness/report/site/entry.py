"""The page that people open first: what changed, what loads where, and how the phones are."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.site.data import SiteData
from harness.report.site.layout import render
from harness.report.site.pages import ENTRY, Page


@dataclass(frozen=True)
class EntryContent:
    demo: bool
    virtual: bool


def page(data: SiteData) -> Page:
    """The entry."""
    return Page(ENTRY, EntryContent(data.demo, data.virtual), draw)


def draw(content: EntryContent) -> str:
    return render("base.html.j2", page=ENTRY, title="iPhone loads", demo=content.demo, virtual=content.virtual)

"""Names and texts that attack: they are shown as text, run nothing, lead nowhere, and no page grows wider for them."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from harness.report.site.build import SiteFiles
from harness.report.site.pages import ENTRY
from tests.browser.chromium import WIDTHS, visit
from tests.demo_hostile import SCRIPT, hostile_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDERS = ("", "series", "trials", "comparisons")
_VISITED = 3
"""Pages of each folder that are opened; all are read."""
_ELEMENTS = """
() => ({
    handlers: [...document.querySelectorAll("*")]
        .filter(one => [...one.attributes].some(name => name.name.startsWith("on"))).length,
    images: document.querySelectorAll("img, iframe, object, embed, form").length,
    scripts: [...document.scripts].map(one => one.textContent),
})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SiteFiles:
    return hostile_site(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_hostile_text_is_text(site: SiteFiles, browser: Browser, folder: str, width: int) -> None:
    for page in _chosen(site, folder):
        with visit(browser, page, width=width) as seen:
            seen.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert SCRIPT in seen.page.locator("main").inner_text(), page.name
            assert seen.overflow_px == 0, page.name
            assert seen.trouble == []
            found = seen.page.evaluate(_ELEMENTS)
            assert (found["handlers"], found["images"]) == (0, 0)
            policy = _read(page).policy
            assert all(_hash(script) in policy for script in found["scripts"])


def test_hostile_entry_is_accessible(site: SiteFiles, browser: Browser) -> None:
    with visit(browser, site.folder / ENTRY, width=WIDTHS[0]) as seen:
        assert seen.violations == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_page_has_a_policy_and_leads_nowhere_else(site: SiteFiles, folder: str) -> None:
    """Needs no browser."""
    results = site.folder.parent.resolve()
    for page in _pages(site, folder):
        told = _read(page)
        assert told.policy.startswith("default-src 'none'")
        assert "unsafe" not in told.policy.replace("style-src 'unsafe-inline'", "")
        assert told.before_policy <= {"html", "head", "meta"}
        for href in told.hrefs:
            parts = urlsplit(href)
            assert parts.scheme in ("", "https"), href
            if parts.scheme or not parts.path:
                continue
            target = (page.parent / unquote(parts.path)).resolve()
            assert target.is_relative_to(results), href
            assert target.is_file(), href


def test_names_of_pages_are_plain(site: SiteFiles) -> None:
    names = [*site.drawn, *site.kept]
    assert len(names) > len(FOLDERS)
    assert all(re.fullmatch(r"([a-z]+/)?[A-Za-z0-9_-]{1,150}\.(html|pftrace)", name) for name in names), names


def test_policy_stops_what_slips_through(site: SiteFiles, browser: Browser, tmp_path: Path) -> None:
    """The page's own policy is what is tested: with the text unescaped nothing runs either."""
    text = (site.folder / ENTRY).read_text(encoding="utf-8")
    pierced = tmp_path / "pierced.html"
    pierced.write_text(text.replace("</main>", f"{SCRIPT}<img src=x onerror=alert(2)></main>"), encoding="utf-8")
    with visit(browser, pierced) as seen:
        assert seen.dialogs == []
        assert any("Content Security Policy" in line or "Content-Security-Policy" in line for line in seen.console)


def _pages(site: SiteFiles, folder: str) -> list[Path]:
    pages = sorted((site.folder / folder).glob("*.html"))
    assert pages, f"no page in {folder or 'the site'}"
    return pages


def _chosen(site: SiteFiles, folder: str) -> list[Path]:
    """The largest, the smallest, and those between, evenly."""
    pages = sorted(_pages(site, folder), key=lambda page: page.stat().st_size)
    return pages if len(pages) <= _VISITED else [pages[0], pages[len(pages) // 2], pages[-1]]


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.policy = ""
        self.before_policy: set[str] = set()
        self.hrefs: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if not self.policy:
            self.before_policy.add(tag)
        if tag == "meta" and told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told.get("content") or ""
        self.hrefs |= {value for name in ("href", "xlink:href", "src") if (value := told.get(name))}


def _read(path: Path) -> _Page:
    told = _Page()
    told.feed(path.read_text(encoding="utf-8"))
    return told

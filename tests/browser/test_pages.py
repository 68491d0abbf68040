"""Every kind of page as a person meets it: in both themes, on a phone and on a desk, with a mouse or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import THEMES, WIDTHS, visit
from tests.demo_site import PAGE_KINDS, DemoSite

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MOST_TABS = 1500
# what a person sees of the element that has the focus, and whether it is one that can be told again
_FOCUS = """
() => {
    const one = document.activeElement;
    const style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    const drawn = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
    return {
        place: Number(one.dataset.testPlace ?? -1),
        html: one.outerHTML.slice(0, 160),
        seen: drawn && box.width > 0 && box.height > 0,
    };
}
"""
# links and summaries in sight, each with a number of its own; what is for the mouse alone is told to nobody else
_MARK = """
() => {
    document.querySelectorAll("details").forEach(one => one.open = true);
    const found = [...document.querySelectorAll("a[href], summary, [tabindex='0']")]
        .filter(one => !one.closest("[aria-hidden='true']"));
    found.forEach((one, place) => one.dataset.testPlace = place);
    return found.map(one => one.outerHTML.slice(0, 160));
}
"""


# contrast is of the theme and layout of the width, so each is looked at once
@pytest.mark.parametrize(("theme", "width"), list(zip(THEMES, WIDTHS, strict=True)))
@pytest.mark.parametrize("kind", PAGE_KINDS)
def test_page_is_quiet_narrow_and_accessible(
    demo: DemoSite, browser: Browser, kind: str, theme: str, width: int
) -> None:
    with visit(browser, demo.report / demo.kinds[kind], theme, width) as seen:
        assert seen.page.locator("h1").inner_text()
        assert "Demo" in seen.page.locator(".banner").inner_text()
        assert seen.overflow_px == 0
        # all that is folded is looked at, too
        seen.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert seen.overflow_px == 0
        assert seen.violations == []
        assert seen.trouble == []


@pytest.mark.parametrize("kind", ["entry", "series with a step", "trial that ended as jetsam", "comparison 1"])
def test_every_link_is_reached_by_the_keyboard_and_seen(demo: DemoSite, browser: Browser, kind: str) -> None:
    with visit(browser, demo.report / demo.kinds[kind], width=WIDTHS[0]) as seen:
        wanted = seen.page.evaluate(_MARK)
        reached = _tab_through(seen.page, len(wanted))
        assert [html for place, html in enumerate(wanted) if place not in reached] == []


def _tab_through(page: Page, count: int) -> set[int]:
    """Places that the Tab key reaches; each must show that it has the focus."""
    assert 0 < count < MOST_TABS
    reached: set[int] = set()
    for _ in range(count + 2):
        page.keyboard.press("Tab")
        focus = page.evaluate(_FOCUS)
        if focus["place"] >= 0:
            assert focus["seen"], f"has the focus and does not show it: {focus['html']}"
            reached.add(focus["place"])
    return reached


def test_skip_link_leads_to_the_content(demo: DemoSite, browser: Browser) -> None:
    with visit(browser, demo.report / demo.kinds["entry"]) as seen:
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("kind", PAGE_KINDS)
def test_figures_have_a_label_and_a_table(demo: DemoSite, browser: Browser, kind: str) -> None:
    with visit(browser, demo.report / demo.kinds[kind]) as seen:
        figures = seen.page.locator("svg[role=img]")
        for number in range(figures.count()):
            assert figures.nth(number).get_attribute("aria-label")
        if seen.page.locator("svg.figure").count():
            assert seen.page.locator("details table").count()


def test_themes_differ(demo: DemoSite, browser: Browser) -> None:
    colours = []
    for theme in THEMES:
        with visit(browser, demo.report / demo.kinds["entry"], theme) as seen:
            colours.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == len(THEMES)

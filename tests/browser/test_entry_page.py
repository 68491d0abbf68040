"""The entry tells what is in the store, lists what was planted and nothing else, and its links lead somewhere."""

from __future__ import annotations

import statistics
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from harness.analysis.decision import SAME_CHANGE_NIGHTS
from harness.bench.demo.events import PlantedEvent
from harness.bench.demo.kinds import Told
from harness.bench.demo.world import CASES, CLASSES
from harness.core.outcome import Outcome
from harness.core.record import TrialRecord
from harness.report.site.pages import ENTRY
from harness.report.words import MISSING, bytes_text, duration_text, rate_text
from tests.browser.chromium import visit
from tests.demo_site import DemoSite

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# each list of the page has a heading before it, or the summary of what is folded; what stands under which
_HEADINGS = {
    "What changed last night": Told.TONIGHT,
    "Still open": Told.OPEN,
    "Still missing": Told.ABSENT,
    "Better this week": Told.BETTER,
    "Known": Told.KNOWN,
}
_LISTED = """
() => {
    const section = document.querySelector("section[aria-labelledby=changed]");
    const found = [];
    let under = null;
    for (const one of section.querySelectorAll("h2, h3, summary, [data-case]")) {
        if (one.matches("h2, h3, details.more > summary")) under = one.textContent;
        else if (one.matches("[data-case]"))
            found.push([under, one.dataset.device, one.dataset.case, one.dataset.since, one.textContent]);
    }
    return found;
}
"""
_ROWS = """
() => [...document.querySelectorAll("table.matrix")].flatMap(table => [...table.tBodies[0].rows].map(row => ({
    device: document.getElementById(table.getAttribute("aria-labelledby")).textContent,
    cells: [...row.cells].map(cell => cell.textContent.replace(/\\s+/g, " ").trim()),
})))
"""


def test_entry_lists_exactly_what_was_planted(demo: DemoSite, browser: Browser) -> None:
    with visit(browser, demo.report / ENTRY) as seen:
        listed = seen.page.evaluate(_LISTED)
    found = {
        (told_under(heading), device, case): date.fromisoformat(since) for heading, device, case, since, _ in listed
    }
    assert len(found) == len(listed), "one item each"
    planted = {
        (event.told, event.device.product_type, event.case.name): event
        for event in demo.events
        if event.told not in (Told.NOTE, Told.HISTORY) and event.device is not None and event.case is not None
    }
    assert set(found) == set(planted)
    for key, event in planted.items():
        assert abs((found[key] - _begins(event)).days) <= SAME_CHANGE_NIGHTS, key


def told_under(heading: str) -> Told:
    return next(told for words, told in _HEADINGS.items() if heading.startswith(words))


def _begins(event: PlantedEvent) -> date:
    """Of what the page tells: of what is over, the first night on which it is."""
    return event.first if event.until == 0 or event.ago == event.until else _over(event)


def _over(event: PlantedEvent) -> date:
    recovers = event.told in (Told.TONIGHT, Told.BETTER)
    return date.fromordinal(event.last.toordinal() + 1) if recovers else event.first


def test_notes_tell_of_the_new_model_file(demo: DemoSite, browser: Browser) -> None:
    event = next(one for one in demo.events if one.told is Told.NOTE)
    assert event.device is not None
    assert event.case is not None
    with visit(browser, demo.report / ENTRY) as seen:
        notes = seen.page.locator("section[aria-labelledby=changed] ul.lines li").all_inner_texts()
    told = [note for note in notes if "model file" in note]
    assert len(told) == 1
    assert event.device.product_type in told[0]
    assert event.case.name in told[0]


def test_table_equals_the_store(demo: DemoSite, browser: Browser) -> None:
    with visit(browser, demo.report / ENTRY) as seen:
        rows = seen.page.evaluate(_ROWS)
    assert len(rows) == len(CLASSES) * len(CASES)
    compared = 0
    for row in rows:
        device = next(one.product_type for one in CLASSES if row["device"].startswith(one.product_type))
        cells = row["cells"]
        case = next(one for one in CASES if _is_of(cells, one.model.name, one.backend.value, one.cache.value))
        trials = [one for one in demo.last_night if (one.device_product_type, one.case) == (device, case.name)]
        if not trials:
            assert "not last night" in cells[2]
            continue
        ends = {outcome: sum(one.outcome == outcome for one in trials) for outcome in {one.outcome for one in trials}}
        for outcome, count in ends.items():
            assert f"{count} × {outcome}" in cells[2]
        loaded = [one for one in trials if one.outcome == Outcome.LOADED.value]
        peak = _median(loaded, "peak_footprint_bytes")
        expected = [
            (cells[3], bytes_text(peak)),
            (cells[4], duration_text(_median(loaded, "load_ns"))),
            (cells[5], duration_text(_median(loaded, "ttft_ns"))),
            (cells[6], rate_text(_median(loaded, "decode_tokens_per_s"))),
        ]
        for cell, text in expected:
            assert cell.startswith(text), (device, case.name)
        if peak is not None:
            limit = trials[0].footprint_limit_bytes
            assert limit is not None
            assert f"{1 - peak / limit:.0%}".rstrip("%") in cells[3]
            compared += 1
    assert compared > len(rows) / 2


def _is_of(cells: list[str], model: str, backend: str, cache: str) -> bool:
    return cells[0].split()[0] == model and cells[1] == backend and cache in cells[0].split()


def _median(trials: list[TrialRecord], column: str) -> Any:
    values = [getattr(one, column) for one in trials]
    return statistics.median(values) if values else None


@pytest.mark.parametrize("folder", ["", "series", "trials", "comparisons"])
def test_links_lead_to_what_is_there(demo: DemoSite, folder: str) -> None:
    """Needs no browser: names in the files themselves."""
    here = demo.report / folder
    pages = sorted(here.glob("*.html"))
    assert pages
    ids: dict[Path, set[str]] = {}
    checked = 0
    for page in pages:
        told = _read(page)
        for href in told.hrefs:
            parts = urlsplit(href)
            assert (parts.scheme, parts.netloc) in (("", ""), ("https", parts.netloc)), href
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.is_file(), f"{page.name}: {href}"
            assert target.is_relative_to(demo.results.resolve()), href
            if parts.fragment:
                if target not in ids:
                    ids[target] = _read(target).ids
                assert parts.fragment in ids[target], f"{page.name}: {href}"
            checked += 1
    assert checked > len(pages)


def test_every_page_is_reached_from_the_entry(demo: DemoSite) -> None:
    reached, waiting = set(), [(demo.report / ENTRY).resolve()]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.suffix == ".html":
            paths = {unquote(urlsplit(href).path) for href in _read(page).hrefs if not urlsplit(href).scheme}
            waiting += [(page.parent / path).resolve() for path in paths if path]
    pages = {path.resolve() for path in demo.report.rglob("*.html")}
    assert pages - reached == set()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "xlink:href") and value is not None:
                self.hrefs.add(value)
            elif name == "id" and value is not None:
                self.ids.add(value)


def _read(path: Path) -> _Page:
    told = _Page()
    told.feed(path.read_text(encoding="utf-8"))
    return told


def test_missing_is_a_dash(demo: DemoSite, browser: Browser) -> None:
    with visit(browser, demo.report / ENTRY) as seen:
        rows = seen.page.evaluate(_ROWS)
    dead = [row for row in rows if "bad_alloc" in row["cells"][2]]
    assert dead
    assert all(cell.startswith(MISSING) for row in dead for cell in row["cells"][3:])

"""Series pages: the table equals the store, gaps are gaps, segments are never joined, hostile names are text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.series import OUTCOME, SeriesKey
from harness.core.record import TrialRecord
from harness.report.site import series_pages
from harness.report.site.data import SiteData, read_site_data
from harness.report.site.pages import Page, series_page, trial_page
from harness.report.verdict_words import value_text
from harness.store.database import ResultStore
from tests.simulated_nights import SimulatedHistory, SimulatedNight

CASE = "tiny/litert_lm/cpu/cold"
LOST = ("lost",) * 5
DIED = ("bad_alloc",) * 5
NEW_ENGINE = {"engine_version": "0.19.0"}


def key_of(metric: str, case: str = CASE, kind: str = "virtual") -> SeriesKey:
    return SeriesKey(kind, "iPhone17,1", "simulated", case, metric)


def read(folder: Path, *histories: list[TrialRecord]) -> SiteData:
    with ResultStore.open(folder) as store:
        for record in (record for history in histories for record in history):
            store.begin(replace(record, state="running"))
            store.finish(record)
    with ResultStore.open_existing(folder) as store:
        return read_site_data(store)


def pages_of(data: SiteData, trials: frozenset[str] = frozenset()) -> dict[str, Page]:
    return {page.name: page for page in series_pages.pages(data, trials)}


def drawn(data: SiteData, metric: str, **of: Any) -> str:
    page = pages_of(data)[series_page(key_of(metric, **of))]
    text = page.draw(page.content)
    assert isinstance(text, str)
    return text


class _Table(HTMLParser):
    """Rows of a page's table by the id of the row; a cell ends where the next one begins."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: dict[str, list[str]] = {}
        self._row: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "tr":
            self._row = self.rows.setdefault(found["id"] or "", []) if "id" in found else None
        elif tag in ("td", "th") and self._row is not None:
            self._row.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._row = None

    def handle_data(self, data: str) -> None:
        if self._row:
            self._row[-1] += data


def rows(page: str) -> dict[str, list[str]]:
    return {anchor: [" ".join(cell.split()) for cell in cells] for anchor, cells in _Table(page).rows.items()}


def path_with(page: str, look: str) -> list[str]:
    """Subpaths of the figure's paths of that look."""
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*)"', page)
    return [piece for path, looks in paths if look in looks for piece in path.split("M") if piece.strip()]


JOINING = "opacity: 0.7"


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> SiteData:
    """30 nights: the phone away on night 5, the case left out on 10, dead on 15, another engine from night 20."""
    nights: list[SimulatedNight | None] = [SimulatedNight() for _ in range(30)]
    nights[5] = SimulatedNight(outcomes=LOST)
    nights[10] = None
    nights[15] = SimulatedNight(outcomes=DIED)
    nights[8] = SimulatedNight(outcomes=("loaded", "loaded", "jetsam"))
    nights[20:] = [SimulatedNight(columns=NEW_ENGINE)] * 10
    other = SimulatedHistory(case="other", seed=2).records([SimulatedNight()] * 30)
    history = SimulatedHistory().records(nights)
    return read(tmp_path_factory.mktemp("gappy"), list(history), list(other))


def test_there_is_a_page_for_each_metric_with_a_figure_and_for_the_ends(tmp_path: Path) -> None:
    history = SimulatedHistory(levels={"load_ns": 5e8})
    data = read(tmp_path, list(history.records([SimulatedNight()] * 3)))
    assert set(pages_of(data)) == {series_page(key_of("load_ns")), series_page(key_of(OUTCOME))}


def test_the_table_equals_the_store(gappy: SiteData) -> None:
    told = rows(drawn(gappy, "load_ns"))
    trials = gappy.trials[gappy.trials["case"].eq(CASE)]
    of_run = trials.groupby("run_id")
    assert len(told) == len(of_run) + 1, "and the night without the case"
    for run, of_night in of_run:
        night = f"{str(run)[:4]}-{str(run)[4:6]}-{str(run)[6:8]}"
        loaded = of_night[of_night["outcome"].eq("loaded")]["load_ns"].dropna()
        cells = told[f"n-{night}"]
        assert cells[0] == night
        assert cells[1] == value_text("load_ns", None if loaded.empty else float(loaded.median()))
        assert cells[3].split(" ")[0] == (str(len(loaded)) if len(loaded) else "–")
        assert ("short" in cells[3]) == (0 < len(loaded) < 5)
        for name, count in of_night["outcome"].value_counts().items():
            assert f"{count} × {name}" in cells[4]
        assert cells[7].split() == sorted(of_night["trial_id"])


def test_newest_night_is_first(gappy: SiteData) -> None:
    nights = [cells[0] for cells in rows(drawn(gappy, OUTCOME)).values()]
    assert nights == sorted(nights, reverse=True)


def test_a_night_without_a_figure_is_a_gap_and_marked(gappy: SiteData) -> None:
    page = drawn(gappy, "load_ns")
    cells = rows(page)
    assert cells["n-2026-01-06"][1:4] == ["–", "–", "–"]
    assert cells["n-2026-01-11"][4] == "did not run"
    # parted by the nights 5, 10 and 15, and by the new engine
    assert [piece.count("L") + 1 for piece in path_with(page, JOINING)] == [5, 4, 4, 4, 10]
    crosses = [piece for piece in path_with(page, "stroke: var(--death); stroke-width: 1.1") if "L" in piece]
    assert len(crosses) == 2 * 2, "two strokes for each of two nights"


def test_segments_are_never_joined_and_the_line_says_what_changed(gappy: SiteData) -> None:
    page = drawn(gappy, "load_ns")
    assert "engine version 0.18.1 → 0.19.0" in page.split("</svg>")[0], "in the figure"
    assert "new segment" not in rows(page)["n-2026-01-20"][6]
    assert "engine version 0.18.1 → 0.19.0" in rows(page)["n-2026-01-21"][6]


def test_every_night_of_the_figure_leads_to_its_row(gappy: SiteData) -> None:
    for metric in ("load_ns", OUTCOME):
        page = drawn(gappy, metric)
        stripes = re.findall(r'<a href="#(n-[^"]*)" tabindex="-1">', page)
        assert sorted(stripes) == sorted(rows(page)), metric
        unread = re.search(r'<svg class="spots" aria-hidden="true".*?</svg>', page)
        assert unread is not None, "a reader of the screen has the table"
        assert unread[0].count("<a ") == page.count('href="#n-') - page.count('<li><a href="#n-')


def test_links_go_to_trials_that_have_a_page(gappy: SiteData) -> None:
    chosen, other = gappy.trials[gappy.trials["case"].eq(CASE)]["trial_id"].tolist()[-2:]
    page = pages_of(gappy, frozenset({chosen}))[series_page(key_of("load_ns"))]
    text = str(page.draw(page.content))
    assert f'<a href="../{trial_page(chosen)}">{chosen}</a>' in text
    assert other in text
    assert f">{other}</a>" not in text


def test_a_step_is_marked_with_levels_before_and_after(tmp_path: Path) -> None:
    nights = [SimulatedNight(columns={"build": f"b{n}"}) for n in range(20)]
    nights += [SimulatedNight({"load_ns": 1.2}, columns={"build": f"b{n}"}) for n in range(20, 40)]
    data = read(tmp_path, list(SimulatedHistory().records(nights)))
    page = drawn(data, "load_ns")
    assert re.search(r"<strong class=\"bad\">regressed", page)
    assert '<a href="#n-2026-01-21">2026-01-21</a>: <span class="bad">+' in page
    assert "harness verdicts triage virtual/iPhone17,1/simulated/tiny/litert_lm/cpu/cold:load_ns" in page
    assert "last before b19, first since b20" in page
    levels = path_with(page, "stroke: var(--text); stroke-width: 1.2")
    assert len(levels) == 2, "before and after"


def test_nights_of_two_segments_are_two_rows_with_their_own_trials(tmp_path: Path) -> None:
    old = list(SimulatedHistory().records([SimulatedNight()] * 10))
    new = [
        replace(one, trial_id=f"{one.trial_id}-new", run_id=f"{one.run_id}-new")
        for one in SimulatedHistory(columns={"device_os_version": "26.1"}).records([SimulatedNight()] * 10)
    ]
    page = drawn(read(tmp_path, old, new), "load_ns")
    told = rows(page)
    assert len(told) == 20
    assert {one.endswith("-new") for one in told["n-2026-01-05"][7].split()} == {False}
    assert {one.endswith("-new") for one in told["n-2026-01-05-2"][7].split()} == {True}
    assert len(set(re.findall(r'<a href="#(n-[^"]*)" tabindex="-1">', page))) == 20
    assert "iOS 26" in page


def test_equal_stores_give_equal_bytes_and_another_night_another_digest(tmp_path: Path) -> None:
    nights = [SimulatedNight()] * 12
    first, again = (read(tmp_path / name, list(SimulatedHistory().records(nights))) for name in ("a", "b"))
    later = read(tmp_path / "c", list(SimulatedHistory().records([*nights, SimulatedNight()])))
    name = series_page(key_of("load_ns"))
    assert pages_of(first)[name].digest == pages_of(again)[name].digest != pages_of(later)[name].digest
    assert drawn(first, "load_ns") == drawn(again, "load_ns")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    case = "<script>alert(1)</script>/\"'\n$x$\x00\u202e" + "long" * 1000
    nights = [SimulatedNight(columns={"build": "<img src=x onerror=alert(1)>"})] * 10
    nights += [SimulatedNight(columns={"engine_version": "</svg><script>"})] * 10
    history = SimulatedHistory(case=case, columns={"device_product_type": "iPhone17,1"})
    pages = pages_of(read(tmp_path, list(history.records(nights)))).values()
    page = next(str(one.draw(one.content)) for one in pages if one.content.metric == "load_ns")
    assert "<script" not in page
    assert "<img" not in page
    assert "\x00" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "more characters are in the record" in page


def test_what_is_virtual_says_so_and_what_is_not_does_not(tmp_path: Path) -> None:
    virtual = SimulatedHistory().records([SimulatedNight()] * 3)
    physical = SimulatedHistory(case="real", columns={"device_kind": "physical"}).records([SimulatedNight()] * 3)
    data = read(tmp_path, list(virtual), list(physical))
    assert "on virtual iPhone17,1</h1>" in drawn(data, "load_ns")
    page = drawn(data, "load_ns", case="real", kind="physical")
    assert "on physical iPhone17,1</h1>" in page
    assert "virtual" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_made_by_seed_is_labelled_demo(tmp_path: Path) -> None:
    made = SimulatedHistory(columns={"origin": "demo, seed 7"}).records([SimulatedNight()] * 3)
    other = SimulatedHistory(case="other").records([SimulatedNight()] * 3)
    data = read(tmp_path, list(made), list(other))
    assert "Demo: simulated figures" in drawn(data, "load_ns")
    assert "Demo: simulated figures" not in drawn(data, "load_ns", case="other")

"""Comparison pages over made-up trials: clearly test data, no phone has given these figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.bench.kept_suites import keep_suite
from harness.bench.suite import load_suite
from harness.core.record import TrialRecord
from harness.core.telemetry import Phase, Reading, Source
from harness.report.overlay_figure import since_load
from harness.report.panel import tick_texts, ticks, wrapped
from harness.report.site import comparison_choice, comparison_pages, trial_pages
from harness.report.site.data import read_site_data
from harness.report.site.pages import Page, comparison_page
from harness.report.timeline_parts import SampledTrial
from harness.store.database import ResultStore
from harness.store.telemetry import read_arrays, write_parquet
from tests.simulated_nights import simulated_record

MIB = 1024 * 1024
S = 1_000_000_000
START_NS = 5_000 * S
NAUGHTY = "a<script>alert(1)</script>\x1b[31m"


def readings(peak_mib: float) -> list[Reading]:
    return [
        Reading(Source.APP, START_NS + step * S // 50, step, footprint_bytes=int(peak_mib * MIB * step / 50))
        for step in range(1, 51)
    ]


def keep(
    store: ResultStore, number: int, peak_mib: float, *, taken: list[Reading] | None = None, **changes: Any
) -> TrialRecord:
    """A trial with a load that begins a fifth of a second after it."""
    usual: dict[str, Any] = {
        "trial_id": f"20260101-{number:06d}",
        "run_id": "run-1",
        "suite": "made-up",
        "case": "tiny",
        "ordinal": number + 1,
        "started_at": f"2026-01-01T20:{number:02}:00",
        "sample_hz": 50,
        "peak_footprint_bytes": round(peak_mib * MIB),
        "load_ns": S + number,
        "footprint_limit_bytes": 3000 * MIB,
        "phases": (Phase("verify", START_NS, START_NS + S // 5), Phase("map", START_NS + S // 5, START_NS + S)),
    }
    record = simulated_record(**{**usual, **changes})
    store.begin(record)
    return store.finish(record, readings(peak_mib) if taken is None else taken)


def pages(results: Path) -> dict[str, Page]:
    with ResultStore.open_existing(results) as store:
        data = read_site_data(store)
        return {page.name: page for page in comparison_pages.pages(data, trial_pages.chosen(data))}


def html(page: Page) -> str:
    drawn = page.draw(page.content)
    assert isinstance(drawn, str)
    assert drawn == page.draw(page.content)
    return drawn


def turns(store: ResultStore, a_mib: float, b_mib: float, **of_b: Any) -> None:
    """Six trials of each side in turns, and one of the series, without which there is no night."""
    keep(store, 50, 10, run_id="run-0", started_at="2026-01-01T10:00:00")
    for number in range(12):
        arm = "ab"[number % 2]
        changes: dict[str, Any] = {"arm": arm, "build": f"build-{arm}", **(of_b if arm == "b" else {})}
        keep(store, number, (a_mib, b_mib)[number % 2] * (1 + number / 10_000), ordinal=number // 2 + 1, **changes)


def test_two_sides_are_judged_drawn_and_linked(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        turns(store, 100, 110)
    [page] = [page for name, page in pages(tmp_path).items() if "run-1" in name]
    assert page.name == comparison_page("run-1")
    drawn = html(page)
    for words in ("regressed", "build build-a", "build build-b", "+10.0 %", "took turns", "95 % interval"):
        assert words in drawn, words
    assert ">A</text>" in drawn
    assert ">B</text>" in drawn
    assert ">Peak footprint</text>" in drawn
    assert ">First token</text>" not in drawn, "no trial has it"
    assert drawn.count("<details>") == 2
    with ResultStore.open_existing(tmp_path) as store:
        data = read_site_data(store)
        shown = comparison_choice.shown(data)
        assert comparison_choice.stand_ins(shown) <= trial_pages.chosen(data)
        assert comparison_choice.pages_of_runs(shown) == {"run-1": page.name}
    assert all(f"../trials/{one}.html" in drawn for one in comparison_choice.stand_ins(shown))


def test_a_side_that_died_is_told_and_its_figures_are_missing(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        dead = {"outcome": "bad_alloc", "outcome_family": "model", "reason": "std::bad_alloc", "load_ns": None}
        turns(store, 100, 90, **dead)
    drawn = html(pages(tmp_path)[comparison_page("run-1")])
    assert "6 × bad_alloc" in drawn
    assert "std::bad_alloc" in drawn
    assert ">no figure</text>" in drawn
    assert "<td>Load</td><td>B</td><td>0</td><td>–</td>" in drawn


def test_one_side_alone_is_no_comparison(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, 50, 10, run_id="run-0")
        keep(store, 1, 10, arm="a", ordinal=1)
    assert pages(tmp_path) == {}


def test_cases_of_the_newest_run_stand_side_by_side(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for number, case in enumerate(("one", "two", "three") * 3):
            keep(store, number, 10 * (1 + number % 3), case=case, run_id="old" if number < 3 else "new")
        keep(store, 20, 5, suite="alone", run_id="alone")
        keep(store, 21, 50, case="four", run_id="new", outcome="jetsam", started_at="2026-01-01T20:09:00")
    found = pages(tmp_path)
    [page] = found.values()
    assert page.name == comparison_page("virtual/iPhone17,1/made-up"), "its address outlives the run"
    assert [side.name for side in page.content.groups[0].sides] == ["one", "two", "three", "four"]
    assert [side.trials for side in page.content.groups[0].sides] == [2, 2, 2, 1]
    drawn = html(page)
    assert "run new" in drawn
    assert '<tr class="bad"><td>4</td><td>four</td>' in drawn.replace(' class="figure"', "")
    assert "alone" not in drawn


def test_kinds_of_phones_never_share_a_page(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for number in range(4):
            kind = ("physical", "virtual")[number // 2]
            keep(store, number, 10, case=f"case-{number % 2}", device_kind=kind)
    found = pages(tmp_path)
    assert len(found) == 2
    for page in found.values():
        kinds = {side.record.device_kind for group in page.content.groups for side in group.sides}
        assert len(kinds) == 1
        assert page.content.virtual == (kinds == {"virtual"})


QUOTING = """
name = "quoting"
[[models]]
name = "tiny"
synth = "tiny"
[[published]]
what = "a phone of <somebody>"
figure = "2.16 GB & more"
source = "https://example.org/1?a=b&c=d"
"""


def test_what_others_published_stands_beside_and_a_changed_copy_changes_the_page(tmp_path: Path) -> None:
    suite_file = tmp_path / "quoting.toml"
    suite_file.write_text(QUOTING)
    suite = load_suite(suite_file)
    results = tmp_path / "results"
    with ResultStore.open(results) as store:
        for number in range(2):
            keep(store, number, 10, case=f"case-{number}", suite_digest=suite.digest)
    keep_suite(results, suite)
    [page] = pages(results).values()
    drawn = html(page)
    assert "a phone of &lt;somebody&gt;" in drawn
    assert "not measured by this harness" in drawn
    assert 'href="https://example.org/1?a=b&amp;c=d"' in drawn
    for changed in ("name = 1 # published", "name = 1"):
        (results / "suites" / f"{suite.digest}.toml").write_text(changed)
        [again] = pages(results).values()
        assert again.digest != page.digest
        assert "Published by others" not in html(again)


@pytest.mark.filterwarnings("error")
def test_hostile_names_are_text(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for number in range(2):
            keep(store, number, 10, case=f"{NAUGHTY}{number}" + "z" * 5_000, suite=NAUGHTY, device_product_type=NAUGHTY)
        turns_b: dict[str, Any] = {"build": NAUGHTY * 100}
        for number in range(2, 4):
            keep(store, number, 10, case=NAUGHTY, arm="ab"[number % 2], run_id="run-9", ordinal=1, **turns_b)
    for page in pages(tmp_path).values():
        drawn = html(page)
        assert "<script" not in drawn
        assert "alert(1)" in drawn
        assert "\x1b" not in drawn
        assert "z" * 3_000 not in drawn


def test_lines_begin_where_the_load_does_and_gaps_stay_gaps(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        record = keep(store, 1, 100)
        readings = read_arrays(store.telemetry_path(record.trial_id))
    seconds, footprint = since_load(SampledTrial(record, readings))
    assert seconds[0] == pytest.approx(0.0, abs=0.021)
    assert seconds[-1] == pytest.approx(0.8)
    assert footprint[-1] == pytest.approx(100)
    times = [at for at in readings.t_ns.tolist() if not START_NS + S // 2 <= at <= START_NS + 4 * S // 5]
    write_parquet(tmp_path / "cut.parquet", [Reading(Source.APP, at, footprint_bytes=1) for at in times])
    seconds, footprint = since_load(SampledTrial(record, read_arrays(tmp_path / "cut.parquet")))
    assert any(0.3 < at < 0.6 and value != value for at, value in zip(seconds, footprint, strict=True))  # NaN


def test_the_table_of_lines_has_dashes_where_there_was_no_sample(tmp_path: Path) -> None:
    gone = [one for one in readings(100) if not START_NS + S // 2 <= one.t_ns <= START_NS + 4 * S // 5]
    with ResultStore.open(tmp_path) as store:
        keep(store, 1, 100, case="whole")
        keep(store, 2, 100, case="cut", taken=gone)
        keep(store, 3, 100, case="short", taken=readings(100)[:25])
    [page] = pages(tmp_path).values()
    table = html(page).partition('aria-label="Lines"')[2].partition("</table>")[0]
    rows = [row.split("</td><td>") for row in re.findall("<tr><td>(.*?)</td></tr>", table)]
    assert len(rows) == 60
    whole, cut, short = ([float(row[0]) for row in rows if row[side] == "–"] for side in (1, 2, 3))
    assert whole == []
    assert cut
    assert 0.44 < min(cut) < max(cut) < 0.62, "from the middle of the gap to its end"
    assert 0.5 < min(short) < 0.52, "twice as long after the end as a line joins samples"
    assert max(short) == float(rows[-1][0])


def test_ticks_are_round_and_their_texts_tell_them_apart() -> None:
    assert ticks(0.0, 1.0, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert tick_texts(ticks(15.99, 16.81, 5)) == ["16.0", "16.2", "16.4", "16.6", "16.8"]
    assert tick_texts(ticks(0, 2300, 5)) == ["0", "500", "1000", "1500", "2000"]
    assert wrapped([1, 1, 1], 2.5) == [(0, 0), (0, 1), (1, 0)]

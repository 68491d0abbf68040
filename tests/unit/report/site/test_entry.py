"""The entry's table, phones, runs and sparklines; and that nothing from outside is more than text."""

from __future__ import annotations

import re
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

import pytest

from harness.report.run_pages import draw_run
from harness.report.site.data import read_site_data
from harness.report.site.entry import EntryContent, draw, page
from harness.report.site.fleet import Phone
from harness.report.site.layout import MAX_TEXT_CHARS
from harness.report.site.matrix import Row
from harness.report.site.pages import run_folder
from harness.report.site.sparkline import sparkline
from harness.store.database import ResultStore
from tests.simulated_nights import SimulatedNight, simulated_record
from tests.unit.report.site.test_entry_changes import (
    DEAD,
    LARGE,
    LAST,
    LOST,
    NIGHTS,
    QUIET,
    SMALL,
    content,
    ends_with,
    fill,
    put,
    quiet,
)

GIB = 2**30


def rows(found: EntryContent) -> list[Row]:
    assert found.matrix is not None
    return [row for one in found.matrix.classes for row in one.rows]


def test_a_row_tells_ends_figures_and_head_room(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", f"{SMALL}/variant=both"): quiet()}, footprint_limit_bytes=GIB)
    found = content(tmp_path)
    (row,) = rows(found)
    assert (row.model, row.backend, row.options) == ("small", "cpu", ("litert_lm", "cold", "variant=both"))
    assert (row.mark, row.ends, row.limit_bytes, row.night) == ("loads", "5 × loaded", GIB, None)
    assert row.peak.value == pytest.approx(100 * 2**20, rel=0.05)
    assert [cell.metric for cell in row.others] == ["load_ns", "ttft_ns", "decode_tokens_per_s"]
    html = draw(found)
    assert "90 % of 1 GiB free" in html
    assert "✓" in html


def test_a_peak_over_the_limit_is_called_that(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): quiet()}, footprint_limit_bytes=90 * 2**20)
    html = draw(content(tmp_path))
    assert re.search(r"over the limit of\s+90 MiB", html)
    assert 'class="over"' in html


@pytest.mark.parametrize(
    ("night", "mark", "ends"),
    [
        (SimulatedNight(outcomes=DEAD), "dies", "5 × jetsam"),
        (SimulatedNight(outcomes=("fell_back",) * 5), "falls back", "5 × fell_back"),
        (SimulatedNight(outcomes=(*("loaded",) * 4, "hung")), "mixed", "4 × loaded, 1 × hung"),
        (LOST, "unknown", "5 × lost"),
    ],
)
def test_how_the_last_night_ended(tmp_path: Path, night: SimulatedNight, mark: str, ends: str) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(night)})
    (row,) = rows(content(tmp_path))
    assert (row.mark, row.ends) == (mark, ends)
    if mark != "mixed":
        # no figure is no 0
        assert row.peak.value is None
        assert row.peak.recent[-1] is None


def test_a_death_that_the_suite_expects_and_a_broken_limit_are_said(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(SimulatedNight(outcomes=DEAD))}, expected_outcome="jetsam")
    fill(tmp_path, {("iPhone17,1", LARGE): quiet()}, broken_limits="max_load: 1 s", suite="limited")
    found = {row.suite: row.asked for row in rows(content(tmp_path))}
    assert found == {"simulated": "as the suite expects", "limited": "over the suite's limits: 5 of 5"}


def test_figures_of_an_earlier_night_say_so_and_old_cases_are_left_out(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            ("iPhone17,1", SMALL): [*quiet(39), None],
            ("iPhone17,1", LARGE): quiet(40),
            ("iPhone17,1", "gone"): [QUIET],
        },
    )
    found = content(tmp_path)
    nights = {row.model: row.night for row in rows(found)}
    assert nights == {LARGE: None, "small": "2026-02-08"}
    assert found.matrix is not None
    assert found.matrix.left_out == 1
    (small,) = [row for row in rows(found) if row.model == "small"]
    assert len(small.peak.recent) == 30
    assert small.peak.recent[-1] is None
    assert small.peak.recent[-2] is not None


def test_physical_and_virtual_phones_share_no_table(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): quiet()})
    udid = "00008140-0000000000000001"
    fill(tmp_path, {("iPhone13,2", SMALL): quiet()}, device_kind="physical", device_udid=udid)
    found = content(tmp_path)
    assert found.matrix is not None
    assert [(one.kind, one.device) for one in found.matrix.classes] == [
        ("physical", "iPhone13,2"),
        ("virtual", "iPhone17,1"),
    ]
    assert found.fleet is not None
    assert [phone.udid for phone in found.fleet.physical] == [udid]
    assert [phone.device for phone in found.fleet.virtual] == ["iPhone17,1"]


def test_phones_tell_how_they_are_and_what_failed_of_late(tmp_path: Path) -> None:
    dead, lost = SimulatedNight(outcomes=DEAD), SimulatedNight(outcomes=("loaded", "lost", "not_ready", "push_failed"))
    how: dict[str, Any] = {"battery_percent": 81, "battery_celsius": 31.25, "thermal_state_start": "fair"}
    fill(tmp_path, {("iPhone17,1", SMALL): [*ends_with(*[dead] * 8)[:-1], lost]}, **how)
    found = content(tmp_path)
    assert found.fleet is not None
    (phone,) = found.fleet.virtual
    assert phone == Phone(
        device="iPhone17,1",
        udid="00008140-000000000000SIM1",
        short_udid="00008140…SIM1",
        ios="18.5",
        battery_percent=81,
        battery_celsius=31.25,
        thermal="fair",
        seen="2026-01-15 02:04 UTC",
        tonight=True,
        trials=6 * 5 + 4,
        died=6 * 5,
        in_the_way=(("lost", 1), ("not_ready", 1)),
        host=(("push_failed", 1),),
    )
    html = draw(found)
    assert "phone: 1 × lost, 1 × not_ready" in html
    assert "81 %, 31.2 °C" in html


def test_what_a_phone_does_not_tell_is_a_dash(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): quiet()})
    assert re.search(r'data-label="Battery"><span>–, –</span>', draw(content(tmp_path)))


def test_an_earlier_night_knows_nothing_of_later_ones(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): quiet(NIGHTS - 3)})
    night = LAST - timedelta(days=3)
    before = content(tmp_path, night)
    fill(tmp_path, {("iPhone13,2", LARGE): [*[None] * (NIGHTS - 1), QUIET]}, device_udid="LATER")
    assert content(tmp_path).runs != before.runs
    assert content(tmp_path, night) == before


def test_runs_are_linked_where_they_are_drawn(tmp_path: Path) -> None:
    put(tmp_path, [simulated_record(trial_id="t-1", run_id="run one; rm", started_at="2026-01-01T20:00:00+00:00")])
    (run,) = content(tmp_path).runs
    assert run.page is None
    assert run.command == "harness report --run 'run one; rm'"
    drawn = draw_run(tmp_path, "run one; rm")
    assert drawn.parent == tmp_path / "report" / run_folder("run one; rm")
    (run,) = content(tmp_path).runs
    assert run.page is not None
    assert tmp_path / "report" / run.page == drawn


@pytest.mark.parametrize("run_id", ["../../etc", "/etc/passwd", "a/b", "x" * 200, "..", "", "ü", "a\nb"])
def test_a_run_id_names_no_path(run_id: str) -> None:
    folder, name = run_folder(run_id).split("/")
    assert folder == "runs"
    assert re.fullmatch(r"[a-z0-9_-]{1,120}", name)


def test_the_same_store_gives_the_same_bytes(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(SimulatedNight({"load_ns": 1.4}))})
    with ResultStore.open_existing(tmp_path) as store:
        first, second = (page(read_site_data(store)) for _ in range(2))
    assert first.digest == second.digest
    assert first.draw(first.content) == second.draw(second.content)


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\"'\n{{ 7 * 7 }}"
    fill(
        tmp_path,
        {("iPhone17,1", nasty + "x" * 10_000): ends_with(SimulatedNight(outcomes=DEAD))},
        suite=nasty,
        device_udid=nasty,
        build=nasty,
        thermal_state_start=nasty,
    )
    html = draw(content(tmp_path))
    assert "<script>alert" not in html
    assert escape(nasty.split("\n")[0]).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in html
    assert "49" not in re.findall(r"\{\{.{0,10}|49", html)
    assert "x" * (MAX_TEXT_CHARS + 1) not in html
    assert "more characters are in the record" in html
    assert all(re.fullmatch(r"[\w./#-]*", href) for href in re.findall(r'href="([^"]*)"', html))


def test_warm_ups_alone_are_no_night(tmp_path: Path) -> None:
    put(tmp_path, [simulated_record(trial_id="t-1", run_id="r", ordinal=0, started_at="2026-01-01T20:00:00+00:00")])
    found = content(tmp_path)
    assert (found.night, found.matrix, found.runs) == (None, None, ())
    html = draw(found)
    assert "No trial counts in any series yet" in html
    assert set(re.findall(r'href="#([^"]*)"', html)) <= set(re.findall(r'id="([^"]*)"', html))


def test_a_sparkline_has_gaps_and_lines() -> None:
    drawn = str(sparkline([1.0, 2.0, None, 1.5, 1.6], (4,)))
    # two stretches before the line, one after it, and the line itself
    assert drawn.count("M") == 4
    assert 'class="line"' in drawn
    assert 'aria-hidden="true"' in drawn


def test_a_sparkline_of_one_night_is_a_dot_and_of_none_is_nothing() -> None:
    assert str(sparkline([None, None])) == ""
    assert "h0" in str(sparkline([None, 5.0, None]))
    assert "nan" not in str(sparkline([0.0, 0.0]))


def test_noise_does_not_fill_a_sparkline() -> None:
    def heights(values: list[float | None]) -> list[float]:
        return [float(y) for _, y in re.findall(r"[ML ](\d+\.\d) (\d+\.\d)", str(sparkline(values)))]

    calm, wild = heights([100.0, 101.0, 100.0]), heights([100.0, 200.0, 100.0])
    assert max(calm) - min(calm) < (max(wild) - min(wild)) / 2

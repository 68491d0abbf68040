"""Trial pages over made-up trials: clearly test data, no phone has given these figures."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.analysis.timeline import representative
from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord
from harness.core.telemetry import Cut, HostStep, Notice, Phase, Reading, Source
from harness.report.explanation import explain
from harness.report.site import trial_pages
from harness.report.site.build import build_site
from harness.report.site.data import SiteData, read_site_data
from harness.report.site.pages import Page, trial_page
from harness.report.site.trial_choice import MAX_TRIALS, Candidate, stands_for
from harness.report.site.trial_words import MAX_ROWS
from harness.report.timeline_parts import MAX_OF_A_KIND, levels
from harness.store.database import ResultStore
from tests.simulated_nights import SimulatedHistory, SimulatedNight, simulated_record

MIB = 1024 * 1024
S = 1_000_000_000
START_NS = 5_000 * S
NAUGHTY = 'a<script>alert(1)</script>\x1b[31m"\u202e\n'


def readings(peak_mib: float = 100, seconds: float = 1.0, hz: int = 50, **more: int) -> list[Reading]:
    """The app's, with a gap of a quarter second, and a few of the host's."""
    found = []
    for step in range(int(seconds * hz)):
        if 0.5 <= step / hz < 0.75:
            continue
        footprint = int(peak_mib * MIB * min(1, 1.5 * step / (seconds * hz)))
        figures = {"footprint_bytes": footprint, "resident_bytes": footprint + MIB, "thermal": step * 2 // hz, **more}
        found.append(Reading(Source.APP, START_NS + step * S // hz, step + 1, **figures))
    return [*found, *(replace(one, source=Source.HOST, seq=None, resident_bytes=None) for one in found[::10])]


def a_trial(trial_id: str = "20260101-000000-1", **changes: Any) -> TrialRecord:
    """One that loaded, with everything that a timeline shows."""
    usual: dict[str, Any] = {
        "trial_id": trial_id,
        "run_id": "run-1",
        "suite": "made-up",
        "case": "tiny/litert_lm/cpu/cold",
        "started_at": "2026-01-01T20:00:00.000",
        "sample_hz": 50,
        "peak_footprint_bytes": 100 * MIB,
        "footprint_limit_bytes": 120 * MIB,
        "phases": (Phase("map", START_NS, START_NS + S // 5), Phase("create_engine", START_NS + S // 5, START_NS + S)),
        "notices": (Notice("memory_warning", START_NS + S // 2), Notice("thermal", START_NS + S, "serious")),
        "cuts": (Cut(1, 2, START_NS + S // 2, START_NS + 3 * S // 4),),
        "host_steps": (HostStep("run", 0, S, START_NS, START_NS + S),),
        "clock_offset_ns": START_NS,
    }
    return simulated_record(**{**usual, **changes})


def keep(store: ResultStore, record: TrialRecord, taken: list[Reading] | None = None) -> TrialRecord:
    store.begin(record)
    return store.finish(record, readings() if taken is None else taken)


def site(results: Path, **how: Any) -> tuple[SiteData, dict[str, Page]]:
    """The data, and the trial pages of a site in `report/` of the results."""
    with ResultStore.open_existing(results) as store:
        data = read_site_data(store, **how)
        return data, {page.name: page for page in trial_pages.pages(data, trial_pages.chosen(data), results / "report")}


def html(results: Path, trial_id: str = "20260101-000000-1") -> str:
    page = site(results)[1][trial_page(trial_id)]
    drawn = page.draw(page.content)
    assert isinstance(drawn, str)
    return drawn


def test_a_page_shows_every_curve_band_notice_cut_and_lane_and_equals_itself(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(), readings(metal_bytes=50 * MIB, available_bytes=20 * MIB))
    drawn = html(tmp_path)
    for words in (
        *("footprint", "resident", "metal (GPU)", "available", "footprint, seen by the host"),
        *("footprint limit 120 MiB", "memory warning from 96 MiB", "memory warning", "thermal: serious", "phone away"),
        *("map", "create_engine", "run", "nominal", "fair"),
    ):
        assert f">{words}</text>" in drawn, words
    assert 'role="img"' in drawn
    assert "<details>" in drawn
    assert drawn == html(tmp_path)


def test_a_far_limit_is_told_and_not_drawn_and_what_was_not_sampled_is_not_there(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(footprint_limit_bytes=3000 * MIB), readings(available_bytes=2900 * MIB))
    drawn = html(tmp_path)
    assert ">↑ footprint limit 3000 MiB</text>" in drawn
    for words in ("memory warning from", ">available</text>", ">metal (GPU)</text>", "Metal, MiB"):
        assert words not in drawn
    assert '<th scope="col">Available, MiB</th>' in drawn, "the table has it"


def test_the_table_is_thinned_and_says_so_and_keeps_the_peak(tmp_path: Path) -> None:
    taken = readings(seconds=20)
    spike = replace(taken[333], footprint_bytes=777 * MIB)
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(), [*taken[:333], spike, *taken[334:]])
    drawn = html(tmp_path)
    table = drawn[drawn.index("<tbody>") : drawn.index("</tbody>")]
    assert 0 < table.count("<tr>") <= MAX_ROWS
    assert f"({table.count('<tr>')} of {len(taken)}:" in drawn
    assert "<td>777.00</td>" in table
    assert "<td>–</td>" in table, "the host has no resident size"


def test_a_failure_is_told_with_evidence_and_advice_or_what_to_try(tmp_path: Path) -> None:
    proof = Evidence(EvidenceKind.JETSAM_EVENT, "JetsamEvent: <Runner>", "JetsamEvent-1.ips", True)
    with ResultStore.open(tmp_path) as store:
        keep(
            store,
            a_trial(outcome="jetsam", reason="killed by the phone: per-process-limit at 1 bytes", evidence=(proof,)),
        )
        keep(store, a_trial("20260101-000000-2", case="other", outcome="crashed", reason="signal 11"))
    drawn = html(tmp_path)
    for words in (
        "✗",
        "JetsamEvent: &lt;Runner&gt;",
        "<strong>decisive</strong>",
        ">jetsam\n",
        "The rule:",
        "expected: loaded",
    ):
        assert words.strip() in drawn, words
    assert "belongs to the engine&#39;s authors" in html(tmp_path, "20260101-000000-2")


@pytest.mark.filterwarnings("error")
def test_hostile_texts_are_text(tmp_path: Path) -> None:
    names = ("case", "suite", "device_product_type", "device_udid", "model_file", "model_name")
    hostile: dict[str, Any] = dict.fromkeys(names, NAUGHTY)
    hostile |= {"reason": NAUGHTY + "x" * 10_000, "outcome": "crashed", "build": "\N{FIRE}漢字"}
    hostile["phases"] = (Phase(NAUGHTY + "漢字" * 50, START_NS, None),)
    hostile["notices"] = (Notice(NAUGHTY, START_NS + S // 2, NAUGHTY * 50),)
    hostile["evidence"] = (Evidence(EvidenceKind.STDERR, NAUGHTY + "y" * 10_000, NAUGHTY, True),)
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(**hostile))
    drawn = html(tmp_path)
    assert "<script" not in drawn
    assert "alert(1)" in drawn
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    assert "y" * 3_000 not in drawn
    assert "script-src &#39;none&#39;" in drawn


def test_an_outcome_of_a_newer_harness_is_told_and_not_guessed(tmp_path: Path) -> None:
    strange = replace(a_trial(), outcome="melted", outcome_family="model")
    assert any("newer harness" in line for section in explain(strange) for line in section.lines)
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial())
        for number, arm in enumerate("ab"):
            keep(store, replace(strange, trial_id=f"20260101-000001-{number}", run_id="run-2", arm=arm))
    drawn = html(tmp_path, "20260101-000001-0")
    assert "melted" in drawn
    assert "newer harness" in drawn


def test_raw_files_are_linked_only_where_they_are_the_record_s_and_harmless(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with ResultStore.open(results) as store:
        folder = store.artifacts_dir("20260101-000000-1")
        for name in ("stderr 1.txt", "evil.html", "a&b#.json"):
            (folder / name).write_text("x")
        Path(os.fsdecode(bytes(folder) + b"/\xff.txt")).write_text("a name that is no UTF-8")
        (tmp_path / "secret.txt").write_text("secret")
        (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
        keep(store, a_trial(artifacts_dir="artifacts/20260101-000000-1"))
        other = a_trial("20260101-000000-2", case="other", artifacts_dir="artifacts/20260101-000000-1")
        keep(store, other, [])
    drawn = html(results)
    begin = "../../artifacts/20260101-000000-1/"
    assert f'href="{begin}stderr%201.txt"' in drawn
    assert f'href="{begin}a%26b%23.json"' in drawn
    assert f'href="{begin}%FF.txt"' in drawn
    assert 'href="../../telemetry/20260101-000000-1.parquet"' in drawn
    assert "evil.html" in drawn
    assert 'evil.html"' not in drawn
    assert "out.txt" not in drawn
    assert "artifacts/20260101-000000-1" not in html(results, "20260101-000000-2"), "another trial's"
    with ResultStore.open_existing(results) as store:
        data = read_site_data(store)
        far = tmp_path / "elsewhere" / "site"
        pages = {page.name: page for page in trial_pages.pages(data, trial_pages.chosen(data), far)}
    page = pages[trial_page("20260101-000000-1")]
    told = page.draw(page.content)
    assert "stderr%201.txt" not in str(told)
    assert "stderr 1.txt" in str(told)


def test_pages_without_readings_say_why(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(phases=(), files_removed_at="2026-01-02"), [])
        keep(store, a_trial("20260101-000000-2", case="broken"))
        store.telemetry_path("20260101-000000-2").write_bytes(b"no Parquet")
    assert "removed to save space" in html(tmp_path)
    assert "cannot be read" in html(tmp_path, "20260101-000000-2")
    # its trace has the phases alone, and one damaged file does not keep the site from being drawn
    site = build_site(tmp_path)
    assert (site.folder / trial_page("20260101-000000-2")).with_suffix(".pftrace").read_bytes()


def test_records_of_another_harness_and_absurd_readings_are_drawn(tmp_path: Path) -> None:
    far = 2**62
    absurd = [Reading(Source.APP, at, 1, footprint_bytes=-far, thermal=far) for at in (-far, far, far)]
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(sample_hz=0, phases=(), footprint_limit_bytes=-far), absurd)
        keep(store, a_trial("20260101-000000-2", case="bare", sample_hz=0), [])
    assert "<svg" in html(tmp_path)
    assert "It has no readings." in html(tmp_path, "20260101-000000-2")


def test_a_record_of_thousands_of_phases_and_notices_is_drawn_as_far_as_there_is_room(tmp_path: Path) -> None:
    many = range(3_000)
    with ResultStore.open(tmp_path) as store:
        phases = tuple(Phase(f"p{n}", START_NS + n, START_NS + n + 1) for n in many)
        notices = tuple(Notice("thermal", START_NS + n, "x" * 1_000) for n in many)
        steps = tuple(HostStep(f"s{n}", n, n + 1, START_NS + n, START_NS + n + 1) for n in many)
        keep(store, a_trial(phases=phases, notices=notices, host_steps=steps, sample_hz=50))
    drawn = html(tmp_path)
    assert f"{3 * (len(many) - MAX_OF_A_KIND)} further phases, notices and steps are in the record" in drawn
    assert "more lines are told by harness explain" in drawn
    assert len(drawn) < 2_000_000


def test_the_trace_is_a_page_of_its_own_where_it_can_be_made(tmp_path: Path) -> None:
    pytest.importorskip("perfetto")
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial())
    pages = site(tmp_path)[1]
    trace = pages["trials/20260101-000000-1.pftrace"]
    drawn = trace.draw(trace.content)
    assert isinstance(drawn, bytes)
    assert b"create_engine" in drawn
    assert 'href="../trials/20260101-000000-1.pftrace"' in html(tmp_path)


def nightly(tmp_path: Path, nights: Sequence[SimulatedNight | None], cases: int = 1) -> Path:
    with ResultStore.open(tmp_path) as store:
        for number in range(cases):
            history = SimulatedHistory(case=f"case-{number}", seed=number)
            for record in history.records(nights):
                store.begin(record)
                store.finish(record, [])
    return tmp_path


def test_chosen_are_newest_night_failures_and_both_sides_of_an_open_change(tmp_path: Path) -> None:
    good, bad = SimulatedNight(), SimulatedNight(outcomes=("jetsam",) * 5)
    mixed = SimulatedNight(outcomes=("jetsam", "jetsam", "jetsam", "crashed", "lost"))
    data, _ = site(nightly(tmp_path, [good] * 8 + [bad, mixed]))
    with ResultStore.open_existing(tmp_path) as store:
        ids = trial_pages.chosen(replace(data, store=store))
        found = store.trials(trial_id=sorted(ids))
    assert any(verdict.is_open for verdict in data.verdicts)
    by_night = {(record.trial_id[:8], record.outcome) for record in found}
    assert by_night == {
        ("20260108", "loaded"),
        ("20260109", "jetsam"),
        ("20260110", "jetsam"),
        ("20260110", "crashed"),
        ("20260110", "lost"),
    }
    assert len(found) == 5


def test_chosen_know_the_night_as_of_which_the_site_is(tmp_path: Path) -> None:
    nightly(tmp_path, [SimulatedNight()] * 4)
    with ResultStore.open_existing(tmp_path) as store:
        ids = trial_pages.chosen(read_site_data(store, as_of=date(2026, 1, 2)))
    assert {trial_id[:8] for trial_id in ids} == {"20260102"}


def test_chosen_are_bounded_newest_first(tmp_path: Path) -> None:
    nightly(tmp_path, [SimulatedNight(outcomes=("loaded", "crashed"))], cases=MAX_TRIALS // 2 + 20)
    with ResultStore.open_existing(tmp_path) as store:
        assert len(trial_pages.chosen(read_site_data(store))) == MAX_TRIALS


@pytest.mark.parametrize("seed", range(30))
def test_who_stands_for_a_group_is_the_analysis_representative(seed: int) -> None:
    dice = random.Random(seed)
    rows = [
        Candidate(
            f"t{number:02}",
            dice.choice(["loaded", "jetsam", "lost"]),
            dice.choice([None, 1, 2, 3, 4]),
            dice.random() < 0.7,
        )
        for number in range(dice.randint(1, 7))
    ]
    frame = pd.DataFrame(
        {
            "trial_id": [one.trial_id for one in rows],
            "outcome": [one.outcome for one in rows],
            "peak_footprint_bytes": pd.Series([one.peak_bytes for one in rows], dtype="Int64"),
            "telemetry_file": pd.Series(["x" if one.has_telemetry else None for one in rows], dtype="string"),
        }
    )
    expected = representative(frame) or representative(frame.assign(telemetry_file="x"))
    assert stands_for(rows) == expected


def test_names_of_phases_never_stand_on_a_mark() -> None:
    begins, widths = [0.0, 0.1, 0.2, 3.0], [1.0, 0.05, 1.0, 1.0]
    rows = levels(begins, widths)
    for early in range(len(begins)):
        for late in range(early + 1, len(begins)):
            assert begins[late] >= begins[early] + widths[early] or rows[early] > rows[late]


def test_no_glyph_warning_reaches_the_reader(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, a_trial(case="漢字 \x07 \N{FIRE}", outcome="crashed"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        html(tmp_path)
    assert [str(one.message) for one in told] == []

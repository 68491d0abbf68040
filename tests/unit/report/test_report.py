"""The report over made-up trials: clearly test data, no phone has given these figures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from harness.analysis.summary import summarize
from harness.bench.kept_suites import keep_suite
from harness.bench.suite import load_suite
from harness.core.outcome import EMULATED_GPU
from harness.core.telemetry import Reading, Source
from harness.report.build import ReportFiles, build_report
from harness.report.figures_style import LIGHT, style
from harness.report.summary_figure import summary_figure
from harness.report.table import HEADINGS, summary_table
from harness.report.timeline_figure import Trial, timeline_figure
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.telemetry import read_parquet
from tests.made_up_trials import GOOD, LONG_NAME, MIB, START_NS, curve, fill, keep, phases


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    with ResultStore.open(folder) as store:
        fill(store)
    return folder


class Reader(HTMLParser):
    """Checks that tags are closed in order and collects what the tests ask about."""

    void = ("meta", "source", "img", "link", "br", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "href") and value]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_page(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def svg_texts(path: Path) -> str:
    return " | ".join(element.text or "" for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


@pytest.fixture(scope="module")
def built(results: Path) -> ReportFiles:
    return build_report(results)


@pytest.fixture(scope="module")
def report(built: ReportFiles) -> Path:
    return built.index.parent


def test_every_case_with_telemetry_has_its_pictures(built: ReportFiles, report: Path) -> None:
    stems = {"summary", "timeline-wide-cpu", "timeline-stuck", "timeline-tiny-cpu-warm"}
    assert len(built.pictures) == 4 * 6
    for stem in stems:
        for ending in (".svg", ".png", "-dark.svg", "-dark.png"):
            assert report / (stem + ending) in built.pictures
    assert not list(report.glob("timeline-broken-file*"))
    assert {path for path in report.iterdir() if path.name != "index.html"} == set(built.pictures)


def test_equal_results_give_equal_bytes(results: Path, report: Path, tmp_path: Path) -> None:
    build_report(results, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (report / path.name).read_bytes(), path.name
    assert "2026" not in svg_texts(tmp_path / "summary.svg")


def test_the_timeline_says_what_happened(report: Path) -> None:
    told = svg_texts(report / "timeline-wide-cpu.svg")
    for text in (
        "VIRTUAL",
        "jetsam",
        "88.5 MiB",
        "footprint limit 90 MiB",
        "map",
        "create_engine…",
        "seen by the host",
    ):
        assert text in told
    assert "↑ footprint limit 3376 MiB" in svg_texts(report / "timeline-stuck.svg")
    assert "hung" in svg_texts(report / "timeline-stuck.svg")
    warm = svg_texts(report / "timeline-tiny-cpu-warm.svg")
    assert "seen by the host" not in warm
    assert "last seen" not in warm


def test_the_summary_has_no_bar_but_words_for_what_did_not_load(report: Path) -> None:
    told = svg_texts(report / "summary-dark.svg")
    for text in ("jetsam at 88.5 MiB of 90 MiB", "load_error", "bad_alloc at 40 MiB", "did not load", "VIRTUAL"):
        assert text in told


def test_the_page_stands_alone_and_escapes(report: Path) -> None:
    page = read_page(report / "index.html")
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert len(page.images) == 6
    assert all(image["role"] == "img" and image["aria-label"] == image["alt"] for image in page.images)
    text = " ".join(page.text)
    assert "not a <model> & nothing else" in text
    assert "JetsamEvent: <Runner> pid 7" in text
    assert "No trial of this case has telemetry." in text
    assert "virtual iPhone on a computer" in text


def test_the_table_shows_missing_as_a_dash_and_what_was_not_expected(results: Path) -> None:
    with ResultStore.open(results) as store:
        rows = {row.cells[0]: row for row in summary_table(store.frame())}
    assert all(len(row.cells) == len(HEADINGS) for row in rows.values())
    broken = dict(zip(HEADINGS, rows["broken file"].cells, strict=True))
    assert (broken["Outcome"], broken["Expected"], broken["Load"], broken["Limit"]) == (
        "load_error",
        "no: loaded",
        "–",
        "–",
    )
    assert rows["wide cpu, small address space"].as_expected
    long = dict(zip(HEADINGS, rows[LONG_NAME].cells, strict=True))
    assert (long["Trials"], long["Outcome"], long["Load"], long["Decode"]) == (
        "3",
        "3 × loaded",
        "620 ms",
        "22.0 tok/s",
    )


def test_an_emulated_gpu_is_marked_wherever_its_figures_are(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for case, effective in (("wide × cpu", "cpu"), ("wide × gpu", EMULATED_GPU)):
            keep(store, case, curve(200, 0.3), backend_effective=effective, phases=phases(("create_engine", 0.2)))
        frame = store.frame()
        assert [row.cells[0] for row in summary_table(frame)] == ["wide × cpu", "wide × gpu (gpu emulated)"]
    page = read_page(build_report(tmp_path).index)
    text = " ".join(page.text)
    assert text.count("wide × gpu (gpu emulated)") == 2, "in the table and above the case"
    assert "wide × cpu (gpu emulated)" not in text
    with style(LIGHT):
        figure = summary_figure(summarize(frame), LIGHT)
    words = " ".join(part.get_text() for part in figure.findobj(Text)).replace("\n", " ")
    assert words.count("(gpu emulated)") == 1


def test_one_run_is_reported_and_kinds_of_phones_are_apart(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for kind in ("physical", "virtual"):
            keep(store, f"same {kind}", curve(20, 0.3), device_kind=kind, phases=phases(*GOOD))
        keep(store, "earlier", [], run_id="run-0", started_at="2026-11-21T00:00:00.000Z")
        keep(store, "same  virtual", curve(20, 0.1), outcome="crashed", ordinal=2)
    names = {path.name for path in build_report(tmp_path).pictures}
    assert {"summary-physical.svg", "summary-virtual.svg"} <= names
    assert {"timeline-same-virtual.svg", "timeline-same-virtual-2.svg"} <= names
    assert "VIRTUAL" not in svg_texts(tmp_path / "report" / "summary-physical.svg")
    assert "same virtual" not in svg_texts(tmp_path / "report" / "summary-physical.svg")
    text = " ".join(read_page(tmp_path / "report" / "index.html").text)
    assert "earlier" not in text
    assert "1 other run" in text
    assert "earlier" in " ".join(read_page(build_report(tmp_path, run_id="run-0").index).text)
    assert not list((tmp_path / "report").glob("timeline*"))
    with pytest.raises(StoreError, match=r"of run nothing; the runs are: run-"):
        build_report(tmp_path, run_id="nothing")


def test_the_page_of_a_demo_says_so(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, "made by seed", curve(20, 0.3), device_kind="virtual", origin="demo, seed 7")
    text = " ".join(read_page(build_report(tmp_path).index).text)
    assert "Demo: simulated figures" in text
    assert "virtual iPhone on a computer" not in text, "it is none of that either"


def test_the_sides_of_a_comparison_are_two_cases(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for number, arm in enumerate("ab", start=1):
            keep(store, "tiny", curve(20 * number, 0.3), ordinal=number, arm=arm, phases=phases(*GOOD))
    text = " ".join(read_page(build_report(tmp_path).index).text)
    assert "tiny [a]" in text
    assert "tiny [b]" in text


def test_a_failed_allocation_is_told_with_the_wall_it_met_and_names_break_between_their_parts(tmp_path: Path) -> None:
    case = "llama-1b-q8/litert_lm/cpu/cold/variant=extended-addressing"
    with ResultStore.open(tmp_path) as store:
        wall: dict[str, Any] = {"outcome": "bad_alloc", "allocation_limit_bytes": 2350 * MIB}
        keep(store, case, curve(64, 0.3), phases=phases(*GOOD[:2]), **wall)
        keep(store, "other", curve(20, 0.3), allocation_limit_bytes=2350 * MIB)
        summary = summarize(store.frame())
    with style(LIGHT):
        words = [part.get_text() for part in summary_figure(summary, LIGHT).findobj(Text)]
    told = " ".join(words).replace("\n", " ")
    assert "bad_alloc at 64 MiB of 3376 MiB; may map 2350 MiB" in told
    assert told.count("may map") == 1
    assert "llama-1b-q8/litert_lm/cpu/cold/\nvariant=extended-addressing" in words


def test_a_device_that_all_cases_share_is_said_once(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, "one", [], outcome="crashed")
        keep(store, "two", [], outcome="crashed")
    text = " ".join(read_page(build_report(tmp_path).index).text)
    assert "All on iPhone17,1 (virtual)." in text
    assert "Device" not in text.split()
    with ResultStore.open(tmp_path) as store:
        keep(store, "three", [], outcome="crashed", device_settings="battery=80")
    text = " ".join(read_page(build_report(tmp_path).index).text)
    assert "All on" not in text
    assert "Device" in text.split()


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


def test_what_others_published_stands_beside_the_results_as_theirs(tmp_path: Path) -> None:
    suite_file = tmp_path / "quoting.toml"
    suite_file.write_text(QUOTING)
    suite = load_suite(suite_file)
    results = tmp_path / "results"
    with ResultStore.open(results) as store:
        keep(store, "one", curve(20, 0.3), suite_digest=suite.digest)
    keep_suite(results, suite)
    page = read_page(build_report(results).index)
    text = " ".join(page.text)
    for words in ("Published by others", "not measured by this harness", "a phone of <somebody>", "2.16 GB & more"):
        assert words in text
    assert "https://example.org/1?a=b&c=d" in page.sources
    assert text.index("Summary") < text.index("Published by others") < text.index("Cases")

    (results / "suites" / f"{suite.digest}.toml").write_text("name = 1")
    text = " ".join(read_page(build_report(results).index).text)
    assert "The suite's copy cannot be read" in text
    assert "Published by others" not in text


def test_without_results_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results"):
        build_report(tmp_path)
    assert not list(tmp_path.iterdir())
    ResultStore.open(tmp_path).close()
    with pytest.raises(StoreError, match="no finished trial"):
        build_report(tmp_path)


def test_a_trial_with_a_single_reading_can_be_drawn(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep(store, "one", curve(20, 0.3)[:1], outcome="crashed")
        bare = [Reading(Source.HOST, START_NS)]
        keep(store, "none", bare, outcome="lost", phases=phases(("map", 0.1), open_end=True))
    assert len(build_report(tmp_path).pictures) == 12


def test_copies_that_follow_one_another_are_one_span_of_the_picture(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        copies = phases(("create_engine", 0.1), *[("copy", 0.05)] * 3, open_end=True)
        keep(store, "many", curve(20, 0.3), outcome="jetsam", phases=copies)
    build_report(tmp_path)
    assert "copy × 3…" in svg_texts(tmp_path / "report" / "timeline-many.svg")


def texts_of(figure: Figure) -> list[tuple[str, Bbox]]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    # labels of ticks beyond the axis' end exist, but are not drawn
    undrawn = {
        label
        for axes in figure.axes
        for labels, index, (low, high) in (
            (axes.get_xticklabels(), 0, sorted(axes.get_xlim())),
            (axes.get_yticklabels(), 1, sorted(axes.get_ylim())),
        )
        for label in labels
        if not low <= label.get_position()[index] <= high
    }
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text not in undrawn and text.get_visible() and text.get_text().strip()
    ]


def overlapping(figure: Figure) -> list[str]:
    """Pairs of texts that overlap, and texts that leave the picture."""
    found = texts_of(figure)
    page = figure.bbox
    outside = [text for text, box in found if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1]
    pairs = [
        f"{first} × {second}"
        for index, (first, box) in enumerate(found)
        for second, other in found[index + 1 :]
        if (box.x0 < other.x1 - 1 and other.x0 < box.x1 - 1) and (box.y0 < other.y1 - 1 and other.y0 < box.y1 - 1)
    ]
    return outside + pairs


def test_no_text_overlaps_another_or_leaves_the_picture(results: Path) -> None:
    with ResultStore.open(results) as store, style(LIGHT):
        frame = store.frame()
        assert overlapping(summary_figure(summarize(frame), LIGHT)) == []
        for case in frame.loc[frame["telemetry_file"].notna(), "case"].unique():
            records = store.trials(case=case)
            trials = [Trial(record, read_parquet(results / str(record.telemetry_file))) for record in records]
            assert overlapping(timeline_figure(trials, records[0].trial_id, LIGHT)) == [], case


def test_a_gap_is_not_bridged_and_missing_is_not_drawn_as_0(results: Path) -> None:
    with ResultStore.open(results) as store, style(LIGHT):
        [record] = store.trials(case="stuck")
        readings = read_parquet(results / str(record.telemetry_file))
        readings.loc[readings.index[5:8], "footprint_bytes"] = pd.NA
        figure = timeline_figure([Trial(record, readings)], record.trial_id, LIGHT)
    lines = [line for line in figure.axes[1].get_lines() if len(line.get_xdata()) > 50]  # type: ignore[arg-type]  # arrays
    assert len(lines) == 2
    for line in lines:
        values = np.asarray(line.get_ydata(), dtype=float)
        times = np.asarray(line.get_xdata(), dtype=float)
        assert np.isnan(values[(times > 0.95) & (times < 1.65)]).all()
        assert ((times > 0.95) & (times < 1.65)).any()
        assert np.nanmin(values) > 1

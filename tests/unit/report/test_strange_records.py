"""The report of a run whose records hold what this program does not know, or what no picture can show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.outcome import Evidence, EvidenceKind
from harness.core.telemetry import Phase, Reading, Source
from harness.report.build import build_report
from harness.store.database import ResultStore
from tests.simulated_nights import simulated_record

NAMES = "bell \x07 escape \x1b[31m 漢字 \N{FIRE} $x$\ttab"


@pytest.mark.filterwarnings("error")
def test_an_unknown_outcome_and_control_characters_are_drawn(tmp_path: Path) -> None:
    record = simulated_record(
        trial_id="20260101-000000-1",
        run_id="run-1",
        suite=NAMES,
        case=NAMES,
        started_at="2026-01-01T20:00:00",
        device_settings=NAMES,
        device_product_type=NAMES,
        sample_hz=50,
        evidence=(Evidence(EvidenceKind.STDERR, NAMES),),
        phases=(Phase(NAMES, 0, None),),
    )
    strange = replace(record, outcome="melted \x07", outcome_family="model", reason=NAMES)
    with ResultStore.open(tmp_path) as store:
        store.begin(strange)
        store.finish(strange, [Reading(Source.APP, at * 20_000_000, at, footprint_bytes=at) for at in range(50)])
    files = build_report(tmp_path)
    [timeline] = [
        path.read_text() for path in files.pictures if path.name.startswith("timeline") and path.suffix == ".svg"
    ][:1]
    assert "melted" in timeline
    assert "漢字" in timeline
    assert "\x07" not in timeline
    assert "melted" in files.index.read_text()


def test_the_page_of_a_run_shows_no_sign_that_is_not_seen_and_runs_nothing(tmp_path: Path) -> None:
    """A list in a database can hold what no file can: half of a pair."""
    record = simulated_record(
        trial_id="20260101-000000-1",
        run_id="run-1",
        suite="suite",
        case="case",
        started_at="2026-01-01T20:00:00",
        evidence=(Evidence(EvidenceKind.STDERR, "half \ud800 turned \u202egnp.exe\x00", "\udcff.txt"),),
    )
    with ResultStore.open(tmp_path) as store:
        store.begin(record)
        store.finish(record)
    page = build_report(tmp_path).index.read_text(encoding="utf-8")
    assert "half \N{REPLACEMENT CHARACTER} turned \N{REPLACEMENT CHARACTER}gnp.exe" in page
    assert not [one for one in page if not one.isprintable() and one != "\n"]
    assert page.index("Content-Security-Policy") < page.index("<title>")
    assert "script-src &#x27;none&#x27;" in page

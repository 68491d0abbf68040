"""What the entry lists of last night, from SIMULATED histories of nights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.core.judgement import ConfirmationResult, TriageState
from harness.core.record import TrialRecord
from harness.report.site.changes import Changes
from harness.report.site.changes_items import Event
from harness.report.site.data import read_site_data
from harness.report.site.entry import EntryContent, draw, page
from harness.store.database import ResultStore
from harness.store.schema import record_to_row, trials
from harness.store.triage import keep_confirmation, keep_triage
from tests.simulated_nights import FIRST_NIGHT, SimulatedHistory, SimulatedNight

NIGHTS = 14
DEAD = ("jetsam",) * 5
SMALL, LARGE = "small/litert_lm/cpu/cold", "large/litert_lm/gpu/warm"
QUIET, LOST = SimulatedNight(), SimulatedNight(outcomes=("lost",) * 5)
LAST = FIRST_NIGHT + timedelta(days=NIGHTS - 1)

Nights = Sequence[SimulatedNight | None]


def fill(folder: Path, cases: Mapping[tuple[str, str], Nights], suite: str = "simulated", **columns: Any) -> None:
    """`cases`: device class and case → nights from FIRST_NIGHT on."""
    for (device, case), nights in cases.items():
        history = SimulatedHistory(case=case, suite=suite, columns={"device_product_type": device, **columns})
        put(folder, (_apart(record, device) for record in history.records(nights)))


def _apart(record: TrialRecord, device: str) -> TrialRecord:
    name = device.replace(",", "-")
    return replace(record, trial_id=f"{record.trial_id}-{name}", run_id=f"{record.run_id}-{name}")


def put(folder: Path, records: Iterable[TrialRecord]) -> None:
    """Rows alone, all at once."""
    with ResultStore.open(folder) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in records])


def content(folder: Path, as_of: date | None = None) -> EntryContent:
    with ResultStore.open_existing(folder) as store:
        found = page(read_site_data(store, as_of=as_of)).content
    assert isinstance(found, EntryContent)
    return found


def told(folder: Path, as_of: date | None = None) -> Changes:
    return content(folder, as_of).changes


def quiet(nights: int = NIGHTS) -> list[SimulatedNight | None]:
    return [QUIET] * nights


def ends_with(*last: SimulatedNight | None) -> Nights:
    return [*quiet(NIGHTS - len(last)), *last]


def names(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [(event.heading, event.where.case) for event in events]


def test_nothing_changed_is_said_in_words(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): quiet()})
    assert told(tmp_path) == Changes()
    assert "Nothing changed" in draw(content(tmp_path))


def test_metrics_that_worsen_on_one_night_are_one_item(tmp_path: Path) -> None:
    worse = SimulatedNight({"peak_footprint_bytes": 1.3, "load_ns": 1.4}, columns={"build": "1042"})
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(worse)}, build="1041")
    (event,) = told(tmp_path).tonight
    assert (event.heading, event.tone, event.since) == ("Regressed", "worse", str(LAST))
    assert {member.metric for member in event.members} == {"peak_footprint_bytes", "load_ns"}
    assert all(member.new for member in event.members)
    assert event.builds == "last before 1041, first since 1042: the same app"
    html = draw(content(tmp_path))
    assert "peak footprint" in html
    assert f'href="{event.page}"' in html
    assert "Nothing changed" not in html


def test_a_death_takes_its_missing_figures_along_and_comes_first(tmp_path: Path) -> None:
    worse = SimulatedNight({"load_ns": 1.4})
    fill(
        tmp_path,
        {("iPhone17,1", SMALL): ends_with(worse), ("iPhone17,1", LARGE): ends_with(SimulatedNight(outcomes=DEAD))},
    )
    events = told(tmp_path).tonight
    assert names(events) == [("Dies", LARGE), ("Regressed", SMALL)]
    assert [member.after for member in events[0].members] == ["jetsam"]
    assert "peak_footprint_bytes" in events[0].silent
    assert events[0].all_silent
    assert content(tmp_path).counts == "2 worse"


def test_a_death_stays_open_until_somebody_says_something(tmp_path: Path) -> None:
    dead = SimulatedNight(outcomes=DEAD)
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(dead, dead, dead)})
    assert names(told(tmp_path).still) == [("Dies", SMALL)]
    assert told(tmp_path).tonight == ()
    series = f"virtual/iPhone17,1/simulated/{SMALL}:outcome"
    with ResultStore.open(tmp_path) as store:
        keep_triage(store, series, LAST - timedelta(days=2), TriageState.ACKNOWLEDGED, "issue 12", "ada")
    (event,) = told(tmp_path).known
    assert told(tmp_path).still == ()
    assert [text for text, _ in event.owner if "acknowledged by ada" in text and "issue 12" in text]


def test_what_a_re_run_says_is_told(tmp_path: Path) -> None:
    worse = SimulatedNight({"load_ns": 1.4})
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(worse, worse, worse)})
    series = f"virtual/iPhone17,1/simulated/{SMALL}:load_ns"
    since, at = LAST - timedelta(days=2), datetime(2026, 1, 20, tzinfo=UTC)
    with ResultStore.open(tmp_path) as store:
        keep_confirmation(store, series, since, ConfirmationResult.CONFIRMED, "in turns", "run-1", at=at)
    (event,) = told(tmp_path).still
    assert event.confirmation == (("confirmed, 2026-01-20: in turns", ("load_ns",)),)
    with ResultStore.open(tmp_path) as store:
        keep_confirmation(store, series, since, ConfirmationResult.REFUTED, "no", "run-2", at=at + timedelta(days=1))
    assert names(told(tmp_path).known) == [("Refuted by a re-run", SMALL)]
    assert told(tmp_path).still == ()


def test_a_recovery_is_new_once(tmp_path: Path) -> None:
    dead = SimulatedNight(outcomes=DEAD)
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(dead, dead, QUIET, QUIET)})
    first = told(tmp_path, LAST - timedelta(days=1))
    assert names(first.tonight) == [("Loads again", SMALL)]
    assert first.tonight[0].tone == "better"
    second = told(tmp_path, LAST)
    assert (second.tonight, names(second.better)) == ((), [("Loads again", SMALL)])


@pytest.mark.parametrize(("night", "words"), [(None, "it did not run tonight"), (LOST, "5 × lost")])
def test_what_is_missing_is_new_on_its_first_night(tmp_path: Path, night: SimulatedNight | None, words: str) -> None:
    nights = ends_with(night, night)
    fill(tmp_path, {("iPhone17,1", SMALL): nights, ("iPhone17,1", LARGE): quiet()})
    first = told(tmp_path, LAST - timedelta(days=1))
    assert names(first.tonight) == [("Missing", SMALL)]
    assert words in first.tonight[0].words
    later = told(tmp_path)
    assert (later.tonight, names(later.absent)) == ((), [("Missing", SMALL)])
    assert later.absent[0].since == str(LAST - timedelta(days=1))


def test_a_class_that_did_not_run_is_one_item_however_the_page_is_asked_for(tmp_path: Path) -> None:
    away = ends_with(None)
    fill(
        tmp_path, {("iPhone17,1", SMALL): quiet(), ("iPhone13,2", SMALL): away, ("iPhone13,2", LARGE): ends_with(None)}
    )
    for as_of in (None, LAST):
        (event,) = told(tmp_path, as_of).tonight
        assert (event.heading, event.where.device, event.where.case) == ("Missing", "iPhone13,2", "")
        assert event.since == str(LAST)


def test_a_night_on_which_nothing_ran_is_missed_and_not_for_ever(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): quiet()})
    missed = content(tmp_path, LAST + timedelta(days=1))
    assert [event.where.device for event in missed.changes.tonight] == ["iPhone17,1"]
    long_after = content(tmp_path, LAST + timedelta(days=40))
    assert long_after.changes == Changes()
    assert [note.text for note in long_after.idle] == [f"did not run on {LAST + timedelta(days=40)}, last on {LAST}"]


def test_another_suite_at_another_hour_makes_no_news_old(tmp_path: Path) -> None:
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(SimulatedNight({"load_ns": 1.4}))})
    fill(tmp_path, {("iPhone17,1", LARGE): [*[None] * NIGHTS, QUIET]}, suite="by hand")
    found = content(tmp_path)
    assert found.night == str(LAST + timedelta(days=1))
    assert names(found.changes.tonight) == [("Regressed", SMALL)]
    assert f"night of {LAST}" in draw(found)


@pytest.mark.parametrize(
    ("columns", "text", "line"),
    [
        ({"engine_version": "0.19.0"}, "engine version 0.18.1 → 0.19.0", True),
        ({"device_os_version": "26.0"}, "iOS 18 → 26", True),
        ({"device_os_version": "18.6"}, "iOS 18.5 → 18.6", False),
        ({"app_build": "b" * 16}, "app aaaaaaaa → bbbbbbbb", False),
    ],
)
def test_an_update_is_a_note_and_no_regression(tmp_path: Path, columns: dict[str, str], text: str, line: bool) -> None:
    updated = SimulatedNight({"load_ns": 1.5} if line else {}, columns=columns)
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(updated), ("iPhone17,1", LARGE): ends_with(updated)})
    found = content(tmp_path)
    assert found.changes == Changes()
    assert [(note.text, note.line, note.devices) for note in found.notes] == [(text, line, (("iPhone17,1", ()),))]


def test_a_death_since_an_update_is_told_although_it_is_not_judged(tmp_path: Path) -> None:
    dead = SimulatedNight(outcomes=DEAD, columns={"engine_version": "0.19.0"})
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(dead, dead)})
    assert names(told(tmp_path, LAST - timedelta(days=1)).tonight) == [("Dies since an update", SMALL)]
    assert names(told(tmp_path).still) == [("Dies since an update", SMALL)]


def test_a_single_death_is_no_change(tmp_path: Path) -> None:
    odd = SimulatedNight(outcomes=(*("loaded",) * 5, "jetsam"))
    fill(tmp_path, {("iPhone17,1", SMALL): ends_with(odd)})
    found = told(tmp_path)
    assert (found.tonight, names(found.unsure)) == ((), [("Some trials died", SMALL)])
    assert "1 of 6 jetsam" in found.unsure[0].words


def test_phones_with_two_versions_of_ios_are_told_apart(tmp_path: Path) -> None:
    old = {("iPhone17,1", SMALL): quiet()}
    fill(tmp_path, old, device_os_version="18.5")
    history = SimulatedHistory(case=SMALL, columns={"device_os_version": "26.0", "device_udid": "OTHER"})
    nights = ends_with(SimulatedNight({"load_ns": 1.4}))
    put(tmp_path, (replace(one, trial_id=f"{one.trial_id}-26") for one in history.records(nights)))
    (event,) = told(tmp_path).tonight
    assert event.where.segment == "iOS 26"
    matrix = content(tmp_path).matrix
    assert matrix is not None
    assert [row.segment for row in matrix.classes[0].rows] == ["iOS 18", "iOS 26"]

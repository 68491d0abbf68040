"""Which run goes on, and with which trials: by made-up records in a real results folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.resume import Resumable, RunAtHand, new_run, remaining, resumed_run
from harness.bench.suite import Suite
from harness.core.phone import ByUdid, DeviceWord, PhoneFacts, PhoneKind, Virtual
from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from tests.unit.bench.made_records import made_record

SUITE = Suite.model_validate(
    {
        "name": "resumed",
        "models": [{"name": "tiny", "synth": "tiny"}],
        "matrix": {"caches": ["cold", "none"]},
        "options": {"trials": 2, "warmup_trials": 1},
    }
)
PLANNED = plan_trials(SUITE)
UDID = "00008140-0000000000000001"
PHONE = PhoneFacts(UDID, PhoneKind.VIRTUAL, "iPhone17,1", "18.5", "22F76", "phone")
NAMED = ByUdid(UDID)


def record_of(planned: PlannedTrial, run_id: str = "run-1", **changes: Any) -> TrialRecord:
    where = {
        "device_udid": UDID,
        "device_kind": "virtual",
        "device_product_type": "iPhone17,1",
        "device_os_build": "22F76",
        "device_settings": "",
    }
    attempt = changes.get("attempt", 1)
    name = f"{run_id}-{PLANNED.index(replace(planned, attempt=1))}-{attempt}"
    asked = {"run_id": run_id, "case": planned.case.name, "ordinal": planned.ordinal, "suite_digest": SUITE.digest}
    return made_record(**{"trial_id": name, "attempt": attempt, **where, **asked, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore.open(tmp_path) as opened:
        yield opened


def keep(store: ResultStore, *records: TrialRecord) -> None:
    for record in records:
        store.finish(store.begin(record), []) if record.state == "done" else store.begin(record)


def resume(store: ResultStore, word: DeviceWord = NAMED, facts: PhoneFacts = PHONE) -> tuple[RunAtHand, list[str]]:
    told: list[str] = []
    wanted = Resumable(SUITE.digest, word)
    with resumed_run(store, facts, wanted, PLANNED, told.append, lambda record: None) as run:
        return run, told


def test_what_has_no_record_is_left_in_the_order_of_the_plan() -> None:
    run = remaining("run-1", [record_of(PLANNED[3]), record_of(PLANNED[0])], PLANNED)
    assert run.left == (PLANNED[1], PLANNED[2], PLANNED[4], PLANNED[5])
    assert [record.trial_id for record in run.records] == ["run-1-0-1", "run-1-3-1"]


def test_a_trial_that_was_cut_short_is_left_as_its_next_attempt() -> None:
    cut = [record_of(PLANNED[0], cut_short=True), record_of(PLANNED[0], cut_short=True, attempt=2)]
    run = remaining("run-1", cut, PLANNED)
    assert run.left[0] == replace(PLANNED[0], attempt=3)
    assert run.records == ()
    again = remaining("run-1", [*cut, record_of(PLANNED[0], attempt=3)], PLANNED)
    assert again.left == tuple(PLANNED[1:])
    assert [record.attempt for record in again.records] == [3]


def test_a_trial_that_failed_has_been_run() -> None:
    failed = record_of(PLANNED[0], outcome="harness_error", outcome_family="host")
    assert remaining("run-1", [failed], PLANNED).left == tuple(PLANNED[1:])


def test_the_newest_incomplete_run_goes_on(store: ResultStore) -> None:
    keep(store, record_of(PLANNED[0], "run-1"), record_of(PLANNED[0], "run-2"), record_of(PLANNED[1], "run-2"))
    keep(store, *(record_of(planned, "run-3") for planned in PLANNED))
    run, told = resume(store)
    assert (run.run_id, run.left) == ("run-2", tuple(PLANNED[2:]))
    assert told == ["run run-2 goes on: 2 of 6 trials have been run"]


@pytest.mark.parametrize(
    "changes", [{"suite_digest": "other"}, {"suite_digest": None}, {"device_udid": "00008140-0000000000000002"}]
)
def test_another_suite_or_phone_is_not_gone_on_with(store: ResultStore, changes: dict[str, Any]) -> None:
    keep(store, record_of(PLANNED[0], **changes))
    run, told = resume(store)
    assert run.run_id != "run-1"
    assert run.left == tuple(PLANNED)
    assert "no unfinished run of this suite on this phone" in told[0]


def test_a_phone_that_lives_with_the_command_is_known_by_kind_and_settings(store: ResultStore) -> None:
    keep(store, record_of(PLANNED[0]))
    in_another_slot = replace(PHONE, udid="00008140-0000000000000009")
    assert resume(store, Virtual(), in_another_slot)[0].run_id == "run-1"
    tighter = replace(in_another_slot, settings="footprint_limit=90MiB")
    assert resume(store, Virtual(), tighter)[0].run_id != "run-1"


def test_a_run_that_is_under_way_is_left_alone(store: ResultStore) -> None:
    with new_run(store, PLANNED) as under_way:
        keep(store, record_of(PLANNED[0], under_way.run_id))
        run, told = resume(store)
        assert run.run_id != under_way.run_id
        assert told[0] == f"run {under_way.run_id} is left alone: another process is at it"
    assert resume(store)[0].run_id == under_way.run_id


def test_what_a_dead_process_left_open_is_closed_and_run_again(tmp_path: Path, store: ResultStore) -> None:
    with ResultStore.open(tmp_path) as dead:
        keep(dead, record_of(PLANNED[0], state="running", outcome=None))
    run, _ = resume(store)
    assert run.left[0] == replace(PLANNED[0], attempt=2)
    (salvaged,) = store.trials(run_id="run-1")
    assert (salvaged.cut_short, salvaged.outcome) == (True, "harness_error")

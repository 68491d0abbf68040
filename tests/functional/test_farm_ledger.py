"""The ledger of a farm's hub, on both databases: what it keeps, whom it lets in, and that a trial has one result."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from harness.analysis.summary import counted
from harness.core.record import TrialRecord
from harness.core.standing import Kept
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.exchange.merge import merge
from harness.store.farm_ledger import FarmLedger, LedgerPhone, LedgerRun, LedgerTrial
from tests.kept_trials import a_trial
from tests.postgresql import PostgresqlServer

RUN = "20261123-run"
CASE = "tiny/cpu"
AT = "2026-11-23T12:00:00+00:00"
PROCESS_LIMIT_S = 120


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> ResultsAddress:
    if request.param == "sqlite":
        return ResultsAddress(tmp_path / "hub")
    return ResultsAddress(tmp_path / "hub", request.getfixturevalue("postgresql_url"))


@pytest.fixture
def ledger(address: ResultsAddress) -> Iterator[FarmLedger]:
    with ResultStore.open(address) as store:
        yield FarmLedger(store)


def a_run(run_id: str = RUN, **changes: Any) -> LedgerRun:
    values: dict[str, Any] = {
        "run_id": run_id,
        "suite": "made-up",
        "suite_digest": "0123456789ab",
        "suite_text": 'name = "made-up"\n',
        "base": "/suites",
        "target": "class:iPhone17,1",
        "priority": 0,
        "attempts": 3,
        "options": {"build": None, "runner": ["auto"]},
        "submitted_by": "somebody@desk",
        "submitted_at": AT,
    }
    return LedgerRun(**(values | changes))


def waiting(ordinal: int, **changes: Any) -> LedgerTrial:
    return replace(LedgerTrial(RUN, CASE, ordinal, ordinal, 1), **changes)


def running(ordinal: int, attempt: int = 1) -> LedgerTrial:
    return waiting(ordinal, attempt=attempt, state="running", phone="phone", host="host")


def record(trial_id: str, ordinal: int = 1, attempt: int = 1, **changes: Any) -> TrialRecord:
    return a_trial(trial_id, run_id=RUN, case=CASE, ordinal=ordinal, attempt=attempt, **changes)


def kept(ledger: FarmLedger, trial_id: str) -> TrialRecord:
    [found] = ledger.store.trials(trial_id=trial_id)
    return found


def test_runs_and_their_trials_are_read_as_they_were_given(ledger: FarmLedger) -> None:
    older = a_run(planned_s=12.5, priority=-3)
    newer = a_run("20261124-run", submitted_at="2026-11-24T12:00:00+00:00")
    trials = [waiting(2, number=1), waiting(1, number=2), waiting(0, number=3, state="running", phone="p", host="h")]
    ledger.add_run(older, trials)
    ledger.add_run(newer, [])
    assert ledger.runs() == [newer, older]
    assert ledger.runs(newest=1) == [newer]
    assert ledger.run(RUN) == older
    assert ledger.run("another") is None
    assert ledger.trials(RUN) == trials
    assert ledger.counts([RUN, "another"]) == {
        RUN: {"waiting": 2, "running": 1, "done": 0, "given_up": 0},
        "another": {"waiting": 0, "running": 0, "done": 0, "given_up": 0},
    }
    ledger.end_run(RUN, "cancelled", "2026-11-24T13:00:00+00:00")
    assert ledger.runs(state="active") == [newer]
    assert ledger.run(RUN) == replace(older, state="cancelled", ended_at="2026-11-24T13:00:00+00:00")


def test_a_run_is_added_once_and_with_all_its_trials_or_not_at_all(ledger: FarmLedger) -> None:
    with pytest.raises(StoreError, match="twice"):
        ledger.add_run(a_run(), [waiting(1), waiting(1)])
    assert ledger.runs() == []
    ledger.add_run(a_run(), [waiting(1)])
    with pytest.raises(StoreError, match="has it already"):
        ledger.add_run(a_run(), [])
    with pytest.raises(StoreError, match="of another run"):
        ledger.add_run(a_run("other"), [waiting(1)])
    with pytest.raises(StoreError, match="no such run"):
        ledger.end_run("other", "done", AT)


@pytest.mark.parametrize(
    "wrong", [{"state": "lost"}, {"planned_s": float("nan")}, {"submitted_at": "yesterday"}, {"priority": 2**63}]
)
def test_what_makes_no_sense_is_not_kept(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with ResultStore.open(tmp_path) as store:
        with pytest.raises(StoreError, match=f"farm_runs, {RUN}: {next(iter(wrong))} is"):
            FarmLedger(store).add_run(a_run(**wrong), [])
        assert FarmLedger(store).runs() == []


def test_a_row_of_another_program_is_named(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        ledger = FarmLedger(store)
        ledger.add_run(a_run(), [waiting(1)])
        with store.writing() as connection:
            connection.execute(text("UPDATE farm_trials SET state = 'lost'"))
        with pytest.raises(StoreError, match=rf"farm_trials, {RUN}/{CASE}/1: state is 'lost'; .* damaged"):
            ledger.trials(RUN)


def test_hundreds_of_changes_are_one(ledger: FarmLedger) -> None:
    many = range(1, 301)
    ledger.add_run(a_run(), [waiting(ordinal) for ordinal in many])
    changed = [running(ordinal, attempt=2) for ordinal in many]
    assert ledger.change(changed) == []
    assert ledger.trials(RUN) == changed
    with pytest.raises(StoreError, match=f"no trial {CASE}#999"):
        ledger.change([*(waiting(ordinal) for ordinal in many), waiting(999)])
    assert ledger.trials(RUN) == changed


def test_a_trial_that_is_done_stays_so(ledger: FarmLedger) -> None:
    ledger.add_run(a_run(), [waiting(1), waiting(2)])
    ledger.change([running(1)])
    assert ledger.take(record("t-1"), counts=True) is Kept.RESULT
    done = replace(running(1), state="done", trial_id="t-1")
    assert ledger.change([waiting(1, attempt=2, reason="lost"), running(2)]) == [done]
    assert ledger.trials(RUN) == [done, running(2)]
    # what the board says after the record was taken
    assert ledger.change([done]) == []
    assert ledger.trials(RUN)[0] == done


def test_what_was_said_of_phones_is_there_after_a_restart(ledger: FarmLedger) -> None:
    first = LedgerPhone("b", drained="by somebody")
    ledger.keep_phone(first)
    ledger.keep_phone(LedgerPhone("a", "by somebody", "three strikes", AT, "somebody", "to look"))
    ledger.keep_phone(LedgerPhone("a", reserved_until=AT, reserved_by="me"))
    assert ledger.phones() == [LedgerPhone("a", reserved_until=AT, reserved_by="me"), first]


def test_the_record_of_the_attempt_under_way_is_the_result(ledger: FarmLedger) -> None:
    ledger.add_run(a_run(), [waiting(1)])
    ledger.change([running(1)])
    whole = record("t-1", reason="as it was")
    assert ledger.take(whole, counts=True) is Kept.RESULT
    assert kept(ledger, "t-1") == whole
    assert ledger.trials(RUN) == [replace(running(1), state="done", trial_id="t-1")]
    assert ledger.take(whole, counts=True) is Kept.ALREADY
    assert ledger.take(whole, counts=False, why_not="came again") is Kept.ALREADY
    assert kept(ledger, "t-1") == whole


LATE = {
    "waits": (waiting(1, attempt=2), "attempt 2 is to come"),
    "runs again": (running(1, attempt=2), "attempt 2 is under way"),
    "given up": (waiting(1, state="given_up"), "the trial was given up at attempt 1"),
}


@pytest.mark.parametrize("stands", LATE)
def test_a_record_that_comes_late_is_evidence(ledger: FarmLedger, stands: str) -> None:
    trial, why = LATE[stands]
    ledger.add_run(a_run(), [trial])
    assert ledger.take(record("t-1", reason="loaded"), counts=True) is Kept.EVIDENCE
    found = kept(ledger, "t-1")
    assert found.cut_short
    assert found.reason == f"loaded (kept as evidence: {why})"
    assert found.evidence[-1].text == f"kept as evidence: {why}"
    assert ledger.trials(RUN) == [trial]
    assert ledger.take(record("t-1", reason="loaded"), counts=True) is Kept.ALREADY


def test_only_the_later_attempt_counts(ledger: FarmLedger) -> None:
    ledger.add_run(a_run(), [waiting(1)])
    ledger.change([running(1, attempt=2)])
    assert ledger.take(record("t-2", attempt=2, load_ns=2), counts=True) is Kept.RESULT
    assert ledger.take(record("t-1", attempt=1, load_ns=1), counts=True) is Kept.EVIDENCE
    assert kept(ledger, "t-1").reason == "kept as evidence: the trial has its result, of attempt 2"
    frame = ledger.store.frame()
    assert len(frame) == 2
    assert counted(frame)["load_ns"].tolist() == [2]


def test_a_record_that_the_hub_does_not_want_is_evidence_with_its_reason(ledger: FarmLedger) -> None:
    ledger.add_run(a_run(), [waiting(1)])
    ledger.change([running(1)])
    assert ledger.take(record("t-1"), counts=False, why_not="the host spoilt it") is Kept.EVIDENCE
    assert kept(ledger, "t-1").reason == "kept as evidence: the host spoilt it"
    # the trial is not done with it
    assert ledger.trials(RUN) == [running(1)]


def test_a_record_of_no_known_run_is_kept_as_it_is(ledger: FarmLedger) -> None:
    stranger = record("t-1", reason="as it was")
    assert ledger.take(stranger, counts=True) is Kept.EVIDENCE
    assert kept(ledger, "t-1") == stranger
    ledger.add_run(a_run(), [waiting(1)])
    assert ledger.take(record("t-2", ordinal=9), counts=True) is Kept.EVIDENCE
    assert kept(ledger, "t-2").reason == "kept as evidence: its run has no such trial"


def test_a_record_is_never_replaced(ledger: FarmLedger) -> None:
    ledger.take(record("t-1"), counts=True)
    with pytest.raises(StoreError, match=r"another trial has this id here \(its ordinal, device_udid differ\)"):
        ledger.take(record("t-1", ordinal=2, device_udid="another"), counts=True)
    with pytest.raises(StoreError, match="is running; only one that is done"):
        ledger.take(record("t-2", state="running"), counts=True)


def at_once(*calls: Callable[[], Kept]) -> list[Kept]:
    begin = threading.Barrier(len(calls))
    results: list[Kept] = []

    def call(one: Callable[[], Kept]) -> None:
        begin.wait()
        results.append(one())

    threads = [threading.Thread(target=call, args=(one,)) for one in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PROCESS_LIMIT_S)
    return sorted(results)


def test_of_records_that_come_at_once_one_is_the_result(ledger: FarmLedger) -> None:
    ordinals = range(1, 9)
    ledger.add_run(a_run(), [waiting(ordinal) for ordinal in ordinals])
    ledger.change([running(ordinal, attempt=2) for ordinal in ordinals])
    for ordinal in ordinals:
        several = [record(f"t-{ordinal}-{n}", ordinal, attempt) for n, attempt in enumerate((1, 2, 2, 2))]
        took = at_once(*(lambda one=one: ledger.take(one, counts=True) for one in several))
        assert took == [Kept.EVIDENCE] * 3 + [Kept.RESULT]
    for ordinal, trial in zip(ordinals, ledger.trials(RUN), strict=True):
        whole = [one.trial_id for one in ledger.store.trials(ordinal=ordinal) if not one.cut_short]
        assert whole == [trial.trial_id]


def test_one_record_that_comes_twice_at_once_is_kept_once(ledger: FarmLedger) -> None:
    ordinals = range(1, 9)
    ledger.add_run(a_run(), [waiting(ordinal) for ordinal in ordinals])
    ledger.change([running(ordinal) for ordinal in ordinals])
    for ordinal in ordinals:
        one = record(f"t-{ordinal}", ordinal)
        took = at_once(*[lambda: ledger.take(one, counts=True)] * 3)  # noqa: B023  # called before the next turn
        assert took == [Kept.ALREADY] * 2 + [Kept.RESULT]


def test_a_second_hub_is_refused_by_the_name_of_the_first(ledger: FarmLedger, address: ResultsAddress) -> None:
    assert not ledger.still_held()
    with ledger.held():
        assert ledger.still_held()
        with (
            ResultStore.open(address) as store,
            pytest.raises(StoreError, match=r"another hub has it \(harness farm hub"),
        ):
            FarmLedger(store).held().__enter__()
        assert ledger.still_held()
        # who does not hold it may still read and write: a status, an import
        ledger.add_run(a_run(), [])
    assert not ledger.still_held()
    with ledger.held():
        assert ledger.still_held()


HOLD = """
import sys
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.farm_ledger import FarmLedger
from pathlib import Path
store = ResultStore.open(ResultsAddress(Path(sys.argv[1]), sys.argv[2] or None))
with FarmLedger(store).held():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_hub_that_is_killed_lets_the_next_one_in(ledger: FarmLedger, address: ResultsAddress) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, address.folder, address.url or ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as hub:
        assert hub.stdout is not None
        assert hub.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=f"another hub has it .*{hub.pid}"), ledger.held():
            pytest.fail("two hubs")
        hub.send_signal(signal.SIGKILL)
        hub.wait(PROCESS_LIMIT_S)
    for _ in range(100):
        # a server takes a moment to see that its client is gone
        try:
            with ledger.held():
                assert ledger.still_held()
                return
        except StoreError:
            threading.Event().wait(0.1)
    pytest.fail("the lock outlived its process")


def test_a_server_that_was_restarted_has_let_go(
    postgresql_server: PostgresqlServer, postgresql_url: str, tmp_path: Path
) -> None:
    with ResultStore.open(ResultsAddress(tmp_path, postgresql_url)) as store:
        ledger = FarmLedger(store)
        with ledger.held():
            assert ledger.still_held()
            postgresql_server.stop()
            assert not ledger.still_held()
            postgresql_server.start()
            # another hub may have come and gone in between
            assert not ledger.still_held()
        with ledger.held():
            assert ledger.still_held()


def test_two_farms_may_share_a_database_in_schemas_of_their_own(
    postgresql_server: PostgresqlServer, postgresql_url: str, tmp_path: Path
) -> None:
    postgresql_server.sql("CREATE SCHEMA other", database=postgresql_url.rpartition("/")[2])
    other = ResultsAddress(tmp_path / "b", f"{postgresql_url}?options=-csearch_path%3Dother")
    with (
        ResultStore.open(ResultsAddress(tmp_path / "a", postgresql_url)) as one,
        ResultStore.open(other) as two,
        FarmLedger(one).held(),
        FarmLedger(two).held(),
        pytest.raises(StoreError, match="another hub has it"),
        FarmLedger(one).held(),
    ):
        pytest.fail("two hubs")


def test_a_folder_whose_lock_was_removed_is_not_held(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        ledger = FarmLedger(store)
        with ledger.held():
            (tmp_path / ".farm.lock").unlink()
            assert not ledger.still_held()


def test_a_merge_takes_the_records_and_leaves_the_ledgers_alone(ledger: FarmLedger, tmp_path: Path) -> None:
    ledger.add_run(a_run(), [waiting(1)])
    ledger.change([running(1)])
    ledger.take(record("t-1"), counts=True)
    with ResultStore.open(tmp_path / "other") as store:
        assert merge(store, ledger.store.address).added == ["t-1"]
        assert FarmLedger(store).runs() == []
        # nothing of a merge: it is the very record
        assert FarmLedger(store).take(record("t-1"), counts=True) is Kept.ALREADY

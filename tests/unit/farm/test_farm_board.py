"""The board: who gets which trial, what counts as its result, and when a phone is out."""

from __future__ import annotations

import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Family
from harness.core.standing import GivenUpBy, TrialStanding
from harness.farm.board import roster as board_roster
from harness.farm.board.board import RECORD_GRACE_S, RESTART_GRACE_S, START_GRACE_S, Board
from harness.farm.board.forecast import ends_in_s
from harness.farm.board.placement import RunQueue, Waiting
from harness.farm.board.roster import ASK_AGAIN_S, NOT_HAD_PAUSE_S, SILENT_S
from harness.farm.board.words import Assignment, BoardRun, BoardTrial, Mark, Taken, Target
from harness.farm.wire import Announcement, JobEnd, JobId, JobReport, PhoneState

CLASS = Target("class:iPhone17,1")


def said(
    phone: str,
    state: PhoneState = PhoneState.FREE,
    job: JobId | None = None,
    *,
    host: str = "host1",
    pid: int = 1,
    ready_in_s: float = 0.0,
) -> Announcement:
    return Announcement(
        phone=phone,
        udid=phone,
        kind="physical",
        product_type="iPhone17,1",
        os_version="18.5",
        os_build="22F76",
        name="iPhone",
        word=phone,
        host=host,
        worker=f"tls://{host}:1",
        pid=pid,
        harness_version="1",
        state=state,
        job=job,
        ready_in_s=ready_in_s,
    )


def trials(
    count: int, *, case: str = "tiny/cpu", duration_s: float | None = 10.0, model: str = "m"
) -> list[BoardTrial]:
    return [BoardTrial(case, number, number, duration_s, model) for number in range(1, count + 1)]


def board_with(*phones: str, attempts: int = 3, of: list[BoardTrial] | None = None, priority: int = 0) -> Board:
    board = Board()
    for phone in phones:
        board.announce(said(phone), 0.0)
    board.add_run(BoardRun("run", CLASS, priority, 0.0, attempts), trials(4) if of is None else of, 0.0)
    return board


def record(
    board: Board, given: Assignment, outcome: str = "loaded", family: Family = Family.MEASURED, now_s: float = 1.0
) -> Taken:
    """The record comes, then the phone's report, and it is free again."""
    taken = board.judge(given.job, outcome, family, "loaded", False)
    board.took(given.job, taken, given.phone, f"t{given.job.ordinal}", outcome, family, "", now_s, expected="loaded")
    board.report(given.phone, JobReport(job=given.job, end=JobEnd.DELIVERED), now_s)
    board.announce(said(given.phone), now_s)
    return taken


def one(board: Board, now_s: float) -> Assignment:
    (given,) = board.assign(now_s)
    return given


def states(board: Board) -> dict[str, int]:
    return {state.value: count for state, count in board.counts("run").items() if count}


def test_each_free_phone_gets_one_trial_and_the_ledger_is_told_before() -> None:
    board = board_with("A", "B")
    given = board.assign(0.0)
    assert [(one.phone, one.job.ordinal, one.worker) for one in given] == [
        ("A", 1, "tls://host1:1"),
        ("B", 2, "tls://host1:1"),
    ]
    assert [(one.job, one.state, one.phone, one.host) for one in board.take_changes()] == [
        (one.job, TrialStanding.RUNNING, one.phone, "host1") for one in given
    ]
    assert board.assign(0.25) == []
    assert states(board) == {"waiting": 2, "running": 2}


def test_a_run_is_over_when_each_trial_has_its_result() -> None:
    board = board_with("A")
    for number in range(4):
        assert record(board, one(board, number), now_s=number) is Taken.RESULT
    assert states(board) == {"done": 4}
    assert board.is_over("run")
    assert [event.what for event in board.take_events()] == ["begun", "ended"] * 4


def test_a_trial_of_a_lost_phone_runs_on_another_and_the_late_record_does_not_count() -> None:
    board = board_with("A", "B", of=trials(1))
    first = one(board, 0.0)
    board.lose(first.phone, "killed", 1.0)
    board.announce(said(first.phone, pid=2), 2.0)
    again = one(board, 2.0)
    assert (again.phone, again.job.attempt) == ("B", 2)
    assert board.judge(first.job, "loaded", Family.MEASURED, "loaded", False) is Taken.LATE
    assert record(board, again) is Taken.RESULT
    assert board.judge(again.job, "loaded", Family.MEASURED, "loaded", False) is Taken.LATE


def test_a_lost_trial_does_not_wait_for_ever_for_another_phone() -> None:
    board = board_with("A", "B", of=trials(2, duration_s=10.0))
    board.assign(0.0)
    board.lose("A", "killed", 1.0)
    board.announce(said("A", pid=2), 2.0)
    # B is at its own trial, for much longer than was thought
    assert board.assign(2.0) == []
    assert board.assign(12.0) == []
    assert one(board, 12.0 + ASK_AGAIN_S).phone == "A"


def test_the_only_phone_gets_its_lost_trial_again_until_the_attempts_are_used_up() -> None:
    board = board_with("A", attempts=2, of=trials(1))
    for attempt in (1, 2):
        assert one(board, attempt).job.attempt == attempt
        board.lose("A", f"pulled {attempt}", attempt)
        board.announce(said("A"), attempt)
    assert board.is_over("run")
    ((job, reason),) = board.given_up("run")
    assert (job.attempt, reason) == (2, "attempt 1 on A: pulled 1; attempt 2 on A: pulled 2")
    assert board.take_changes()[-1].reason == reason


def test_a_record_of_a_spoilt_trial_is_evidence_while_attempts_are_left_then_the_result() -> None:
    board = board_with("A", attempts=2, of=trials(1))
    assert record(board, one(board, 0.0), "push_failed", Family.HOST) is Taken.RETRY
    assert record(board, one(board, 2.0), "push_failed", Family.HOST) is Taken.RESULT
    assert states(board) == {"done": 1}


@pytest.mark.parametrize(
    ("outcome", "family", "expected", "cut_short", "taken"),
    [
        ("jetsam", Family.MODEL, "loaded", False, Taken.RESULT),
        ("lost", Family.DEVICE, "lost", False, Taken.RESULT),
        ("lost", Family.DEVICE, "loaded", False, Taken.RETRY),
        ("jetsam", Family.MODEL, "loaded", True, Taken.RETRY),
    ],
)
def test_what_a_record_is(outcome: str, family: Family, expected: str, cut_short: bool, taken: Taken) -> None:
    board = board_with("A")
    assert board.judge(one(board, 0.0).job, outcome, family, expected, cut_short) is taken


def test_a_record_of_a_run_that_is_not_there() -> None:
    job = JobId(run_id="other", case="c", ordinal=1, attempt=1)
    assert board_with("A").judge(job, "loaded", Family.MEASURED, None, False) is Taken.UNKNOWN


def test_a_phone_that_was_not_to_be_had_made_no_attempt() -> None:
    board = board_with("A", of=trials(1))
    given = one(board, 0.0)
    board.report("A", JobReport(job=given.job, end=JobEnd.NOT_HAD, reason="somebody uses it"), 1.0)
    assert board.assign(1.5) == []
    assert one(board, 1.0 + NOT_HAD_PAUSE_S).job == given.job
    assert not board.phones["A"].strikes


def test_a_refused_trial_is_given_up_and_is_nobodys_fault() -> None:
    board = board_with("A", of=trials(1))
    given = one(board, 0.0)
    board.report("A", JobReport(job=given.job, end=JobEnd.REFUSED, reason="too large for it"), 1.0)
    assert board.is_over("run")
    assert board.given_up("run")[0][1] == "attempt 1 on A: too large for it"
    assert board.take_changes()[-1].given_up_by is GivenUpBy.REFUSED
    assert not board.phones["A"].strikes


def test_a_phone_that_says_it_is_not_at_its_job_has_lost_it_after_a_grace() -> None:
    board = board_with("A", of=trials(1))
    one(board, 0.0)
    board.announce(said("A"), 1.0)
    board.announce(said("A"), START_GRACE_S)
    assert states(board) == {"running": 1}
    board.announce(said("A"), 1.0 + START_GRACE_S)
    assert states(board) == {"waiting": 1}


def test_another_process_of_the_phone_without_the_job_has_lost_it_at_once() -> None:
    board = board_with("A", of=trials(1))
    given = one(board, 0.0)
    board.announce(said("A", PhoneState.BUSY, given.job, pid=2), 1.0)
    assert states(board) == {"running": 1}
    board.announce(said("A", pid=3), 1.1)
    assert states(board) == {"waiting": 1}


def test_a_spooled_trial_waits_for_its_record_while_the_phone_goes_on() -> None:
    board = board_with("A", of=trials(2))
    first = one(board, 0.0)
    board.report("A", JobReport(job=first.job, end=JobEnd.SPOOLED), 1.0)
    board.announce(said("A"), 1.0)
    second = one(board, 1.0)
    assert second.job.ordinal == 2
    assert board.judge(first.job, "loaded", Family.MEASURED, "loaded", False) is Taken.RESULT
    board.assign(1.0 + RECORD_GRACE_S)
    assert board.judge(first.job, "loaded", Family.MEASURED, "loaded", False) is Taken.LATE


def test_a_silent_phone_is_told_of_once_it_is_silent() -> None:
    board = board_with("A", "B")
    board.announce(said("B"), SILENT_S)
    assert board.quiet(SILENT_S) == []
    assert board.quiet(SILENT_S + 1) == ["A"]
    board.lose("A", "silent", SILENT_S + 1)
    assert board.quiet(SILENT_S + 2) == []
    assert board.state_word("A", SILENT_S + 2) == "gone"


def test_three_spoilt_trials_take_a_phone_out_until_it_passes_doctor() -> None:
    board = board_with("A", "B", of=[t for n in range(9) for t in trials(1, case=f"c{n}")])
    now_s = 0.0
    for now_s in (1.0, 2.0, 3.0):
        for given in board.assign(now_s):
            bad = given.phone == "A"
            record(board, given, *(("push_failed", Family.HOST) if bad else ("loaded", Family.MEASURED)), now_s=now_s)
    assert board.state_word("A", now_s) == "out"
    assert [mark.what for mark in board.take_marks()] == ["A"]
    assert [given.phone for given in board.assign(4.0)] == ["B"]
    orders = [board.orders("A", moment_s) for moment_s in (4.0, 5.0, 64.0, 65.0, 364.0)]
    assert [order.examine for order in orders] == [True, False, True, False, True]
    assert [order.cycle_usb for order in orders] == [True, False, False, False, False]
    board.examined("A", False, "the disk is full", 365.0)
    assert board.phones["A"].out == "doctor: the disk is full"
    board.examined("A", True, "all is well", 366.0)
    assert "A" in [given.phone for given in board.assign(366.0)]


def test_a_result_clears_the_strikes_and_one_trial_strikes_a_phone_once() -> None:
    board = board_with("A", attempts=10, of=trials(1))
    for attempt in range(5):
        record(board, one(board, attempt), "push_failed", Family.HOST, attempt)
    assert len(board.phones["A"].strikes) == 1
    record(board, one(board, 9.0))
    assert board.phones["A"].strikes == []


def test_a_poison_case_does_not_take_the_farm_down() -> None:
    phones = [f"P{number}" for number in range(6)]
    board = board_with(*phones, of=trials(60, case="poison"))
    now_s = 0.0
    while not board.is_over("run"):
        now_s += 1
        given = board.assign(now_s)
        assert given, "a phone is left"
        for each in given:
            record(board, each, "launch_failed", Family.HOST, now_s)
    assert sum(phone.out is None for phone in board.phones.values()) >= 4


def test_drained_and_reserved_phones_take_nothing_and_end_what_they_have() -> None:
    board = board_with("A", "B", "C")
    board.announce(said("C", host="host2"), 0.0)
    assert board.drain("host2", "by me") == ["C"]
    board.reserve("B", 100.0, "me")
    assert [given.phone for given in board.assign(1.0)] == ["A"]
    assert (board.state_word("B", 1.0), board.state_word("C", 1.0)) == ("reserved", "drained")
    board.drain("host2", None)
    assert [given.phone for given in board.assign(2.0)] == ["C"]
    assert [given.phone for given in board.assign(100.0)] == ["B"]
    assert board.take_marks() == [Mark("host2"), Mark("B")]


def test_marks_of_an_earlier_hub_hold() -> None:
    board = Board()
    board.restore(Mark("A", out="three strikes"))
    board.restore(Mark("host2", drained="by me"))
    board.announce(said("A"), 0.0)
    board.announce(said("B", host="host2"), 0.0)
    assert (board.state_word("A", 0.0), board.state_word("B", 0.0)) == ("out", "drained")
    assert board.orders("A", 0.0).examine


def test_trials_under_way_when_the_hub_ended_go_on() -> None:
    board = Board()
    where = {("tiny/cpu", number): phone for number, phone in ((1, "A"), (2, "B"), (3, "C"))}
    board.add_run(BoardRun("run", CLASS, 0, 0.0, 3), trials(3), 0.0, where)
    job = JobId(run_id="run", case="tiny/cpu", ordinal=1, attempt=1)
    board.announce(said("A", PhoneState.BUSY, job), 1.0)
    board.announce(said("B"), 1.0)
    assert board.assign(2.0) == []
    assert board.phones["A"].job == job
    # B had ended it, and its record did not come; C does not come back
    assert board.assign(1.0 + START_GRACE_S) == []
    board.announce(said("D"), 20.0)
    again = one(board, 20.0)
    assert (again.phone, again.job.ordinal, again.job.attempt) == ("D", 2, 2)
    assert states(board) == {"running": 3}
    assert board.assign(RESTART_GRACE_S - 1) == []
    again = one(board, RESTART_GRACE_S)
    assert (again.phone, again.job.ordinal, again.job.attempt) == ("B", 3, 2)
    assert board.judge(job, "loaded", Family.MEASURED, "loaded", False) is Taken.RESULT


def test_a_cancelled_run_ends_what_is_under_way_and_repeats_nothing() -> None:
    board = board_with("A")
    given = one(board, 0.0)
    board.cancel("run", "me")
    assert states(board) == {"running": 1, "given_up": 3}
    assert {change.given_up_by for change in board.take_changes()[1:]} == {GivenUpBy.CANCELLED}
    assert record(board, given, "push_failed", Family.HOST) is Taken.RESULT
    assert board.is_over("run")
    assert board.assign(2.0) == []


def test_an_urgent_run_waits_for_one_trial_at_most() -> None:
    board = board_with("A", "B", of=trials(10))
    under_way = board.assign(0.0)
    board.add_run(BoardRun("urgent", CLASS, 5, 1.0, 3), trials(3, case="urgent"), 1.0)
    for given in under_way:
        record(board, given, now_s=5.0)
    assert [given.job.run_id for given in board.assign(5.0)] == ["urgent", "urgent"]


def test_a_resting_phone_is_left_alone() -> None:
    board = board_with("A")
    board.announce(said("A", ready_in_s=30.0), 1.0)
    assert board.state_word("A", 2.0) == "resting"
    assert board.assign(30.0) == []
    assert len(board.assign(31.0)) == 1


def test_what_is_not_known_is_learnt_early_and_then_counts() -> None:
    known, unknown = trials(3, case="known", duration_s=50.0), trials(3, case="new", duration_s=None)
    board = board_with("A", of=known + unknown)
    seen = []
    now_s = 0.0
    while not board.is_over("run"):
        given = one(board, now_s)
        seen.append(given.job.case)
        now_s += 50.0 if given.job.case == "known" else 5.0
        record(board, given, now_s=now_s)
    # numbered as the known ones are, they are as long as those until one has run
    assert seen == ["known", "new", "known", "known", "new", "new"]


def test_the_longest_goes_first_where_the_model_is() -> None:
    queue = RunQueue()
    for number, (model, takes_s) in enumerate([("m", 5.0), ("m", 50.0), ("n", 20.0), ("n", 30.0)]):
        queue.put(Waiting("c", number, number, model, takes_s, push_s=100.0))
    queue.join("has-m", {"m"})
    queue.join("has-n", {"n"})
    order = [queue.take(phone) for phone in ("has-m", "has-n", "has-m", "has-n")]
    assert [(trial.model, trial.takes_s) for trial in order if trial] == [
        ("m", 50.0),
        ("n", 30.0),
        ("m", 5.0),
        ("n", 20.0),
    ]
    assert not queue


def test_a_model_is_not_brought_for_what_others_do_sooner_unless_they_do_not() -> None:
    queue = RunQueue()
    for number in range(4):
        queue.put(Waiting("c", number, number, "m", 5.0, push_s=100.0))
    queue.join("has", {"m"})
    queue.join("has-not", set())
    assert queue.take("has-not") is None
    assert queue.take("has-not", idle_s=90.0) is not None


def test_the_forecast_is_what_the_placement_would_do() -> None:
    board = board_with("A", "B", of=trials(6, duration_s=100.0))
    assert ends_in_s(board, 0.0) == {"run": 300.0}
    board.assign(0.0)
    assert ends_in_s(board, 40.0) == {"run": 260.0}
    later = BoardRun("later", CLASS, 0, 1.0, 3)
    assert ends_in_s(board, 40.0, [(later, trials(2, duration_s=10.0))]) == {"run": 260.0, "later": 270.0}
    assert states(board) == {"waiting": 4, "running": 2}


def test_no_forecast_where_nothing_is_known_or_nobody_is_there() -> None:
    assert ends_in_s(board_with("A", of=trials(2, duration_s=None)), 0.0) == {"run": None}
    assert ends_in_s(board_with(of=trials(2)), 0.0) == {"run": None}


def test_of_too_many_phones_the_one_that_is_gone_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_roster, "MAX_PHONES", 3)
    board = board_with("a", "b", "c")
    board.reserve("b", 100.0, "me")
    with pytest.raises(HarnessError, match="has 3 phones already"):
        board.announce(said("d"), 1.0)
    assert sorted(board.phones) == ["a", "b", "c"]
    board.announce(said("c"), 2.0)
    for phone in ("c", "b"):
        board.lose(phone, "unplugged", 3.0)
    board.announce(said("d"), 4.0)
    assert sorted(board.phones) == ["a", "c", "d"]
    assert sorted(one.phone for one in board.assign(4.0)) == ["a", "d"]
    # what was said of it is not forgotten
    board.announce(said("b"), 5.0)
    assert sorted(board.phones) == ["a", "b", "d"]
    assert board.state_word("b", 5.0) == "reserved"


def test_a_phone_that_tells_of_ever_new_models_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_roster, "MAX_MODELS_KNOWN", 4)
    board = board_with("a")
    for number in range(10):
        models = (f"{number:064}", f"{number + 1:064}")
        board.announce(said("a").model_copy(update={"models": models}), 1.0)
        assert set(models) <= board.phones["a"].models
        assert len(board.phones["a"].models) <= 4


def test_a_reservation_of_an_earlier_hub_ends_by_itself() -> None:
    board = Board()
    board.restore(Mark("A", reserved_until_s=10.0, reserved_by="me"))
    board.announce(said("A"), 0.0)
    board.add_run(BoardRun("run", CLASS, 0, 0.0, 3), trials(1), 0.0)
    assert board.assign(9.0) == []
    assert one(board, 11.0).phone == "A"


def test_a_phone_that_is_not_to_be_had_is_asked_more_and_more_seldom() -> None:
    board = board_with("A", of=trials(1))
    pauses, now_s = [], 0.0
    for _ in range(3):
        given = one(board, now_s)
        board.report("A", JobReport(job=given.job, end=JobEnd.NOT_HAD), now_s)
        began_s = now_s
        while True:
            now_s += 0.5
            # it says all the time that it is free
            board.announce(said("A"), now_s)
            if board.phones["A"].job is None and board.may_take("A"):
                break
        pauses.append(now_s - began_s)
    assert pauses == [1.0, 2.0, 4.0]


def test_a_phone_of_its_own_drain_stays_drained_when_its_host_is_not() -> None:
    board = board_with("A", "B")
    board.drain("A", "cable")
    board.drain("host1", "move")
    assert board.phones["A"].drained == "cable"
    assert board.assign(0.0) == []
    board.drain("host1", None)
    assert [given.phone for given in board.assign(0.0)] == ["B"]


def test_a_phone_that_turns_out_to_be_of_another_class_leaves_the_run() -> None:
    board = board_with("A")
    board.announce(said("A", PhoneState.NOT_READY), 0.0)
    board.announce(said("A").model_copy(update={"product_type": "iPhone12,8"}), 1.0)
    assert board.assign(1.0) == []


def test_a_phone_that_is_out_is_left_alone_while_somebody_has_it() -> None:
    board = Board()
    board.restore(Mark("A", out="three trials in a row"))
    board.announce(said("A"), 0.0)
    board.reserve("A", 10.0, "me", "mends it")
    assert not board.orders("A", 0.0).examine
    board.reserve("A", None, "me")
    assert board.orders("A", 0.0).examine

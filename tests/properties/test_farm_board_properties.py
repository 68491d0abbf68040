"""Whatever happens in whatever order: each trial ends once, no phone has two jobs, and nothing is forgotten."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.core.outcome import Outcome
from harness.core.standing import TrialStanding
from harness.farm.board.board import Board
from harness.farm.board.forecast import ends_in_s
from harness.farm.board.words import BoardRun, BoardTrial, Mark, Taken, Target
from harness.farm.wire import Announcement, JobEnd, JobId, JobReport, PhoneState

PHONES = ("A", "B", "C")
STEP_S = 3.0
HEALED_STEPS = 2000
OUTCOMES = (Outcome.LOADED, Outcome.JETSAM, Outcome.LOST, Outcome.PUSH_FAILED)

phones = st.sampled_from(PHONES)


def announcement(phone: str, state: PhoneState, job: JobId | None, pid: int) -> Announcement:
    return Announcement(
        phone=phone,
        udid=phone,
        kind="physical",
        product_type="iPhone17,1",
        os_version="18.5",
        os_build="22F76",
        name="iPhone",
        word=phone,
        host="host1" if phone == "A" else "host2",
        worker=f"tls://{phone}:{pid}",
        pid=pid,
        harness_version="1",
        state=state,
        job=job,
    )


class Farm(RuleBasedStateMachine):
    """The board, and phones as they really are: `at` is what each of them does, whatever it has told."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board()
        self.now_s = 0.0
        self.pids = dict.fromkeys(PHONES, 1)
        self.at: dict[str, JobId | None] = dict.fromkeys(PHONES)
        self.records: list[tuple[str, JobId]] = []
        self.results: dict[tuple[str, str, int], JobId] = {}
        self.ledger: dict[tuple[str, str, int], tuple[TrialStanding, int]] = {}
        self.begun: dict[JobId, str] = {}
        self.trials: dict[str, int] = {}
        self.attempts: dict[str, int] = {}

    @initialize(count=st.integers(1, 8), attempts=st.integers(1, 3))
    def begin(self, count: int, attempts: int) -> None:
        self._add("one", count, attempts, 0)

    @precondition(lambda self: len(self.trials) < 3)
    @rule(count=st.integers(1, 4), attempts=st.integers(1, 3), priority=st.integers(-1, 1))
    def submit(self, count: int, attempts: int, priority: int) -> None:
        self._add(f"run{len(self.trials)}", count, attempts, priority)

    def _add(self, run_id: str, count: int, attempts: int, priority: int) -> None:
        self.trials[run_id], self.attempts[run_id] = count, attempts
        trials = [
            BoardTrial(f"case{n % 2}", n, n, 5.0 * n if n % 3 else None, f"m{n % 2}", 20.0) for n in range(1, count + 1)
        ]
        self.board.add_run(
            BoardRun(run_id, Target("class:iPhone17,1"), priority, self.now_s, attempts), trials, self.now_s
        )

    @rule(elapsed_s=st.sampled_from([0.1, 1.0, 6.0, 20.0, 700.0]))
    def wait(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s

    @rule(phone=phones)
    def announce(self, phone: str) -> None:
        job = self.at[phone]
        state = PhoneState.FREE if job is None else PhoneState.BUSY
        self.board.announce(announcement(phone, state, job, self.pids[phone]), self.now_s)

    @rule(phone=phones, state=st.sampled_from([PhoneState.IN_USE, PhoneState.NOT_READY, PhoneState.FREE]))
    def announce_something_old(self, phone: str, state: PhoneState) -> None:
        self.board.announce(announcement(phone, state, None, self.pids[phone]), self.now_s)

    @rule()
    def assign(self) -> None:
        for given in self.board.assign(self.now_s):
            assert given.job not in self.begun or self.at[given.phone] != given.job
            assert given.job.attempt <= self.attempts[given.job.run_id]
            self.begun[given.job] = given.phone
            if self.at[given.phone] is None:
                self.at[given.phone] = given.job
            else:
                self.board.report(given.phone, JobReport(job=given.job, end=JobEnd.BUSY), self.now_s)
        self._keep()

    @rule(phone=phones, told=st.booleans())
    def finish(self, phone: str, told: bool) -> None:
        if (job := self.at[phone]) is not None:
            self.at[phone] = None
            self.records.append((phone, job))
            if told:
                self.board.report(phone, JobReport(job=job, end=JobEnd.SPOOLED), self.now_s)

    @rule(phone=phones, end=st.sampled_from([JobEnd.NOT_HAD, JobEnd.REFUSED]))
    def does_not_begin(self, phone: str, end: JobEnd) -> None:
        if (job := self.at[phone]) is not None:
            self.at[phone] = None
            self.board.report(phone, JobReport(job=job, end=end, reason="because"), self.now_s)

    @precondition(lambda self: self.records)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES), cut_short=st.booleans(), twice=st.booleans())
    def deliver(self, data: st.DataObject, outcome: Outcome, cut_short: bool, twice: bool) -> None:
        place = data.draw(st.integers(0, len(self.records) - 1))
        phone, job = self.records[place] if twice else self.records.pop(place)
        self._deliver(phone, job, outcome, cut_short)

    def _deliver(self, phone: str, job: JobId, outcome: Outcome, cut_short: bool) -> None:
        self._keep()
        taken = self.board.judge(job, outcome, outcome.family, "loaded", cut_short)
        key = (job.run_id, job.case, job.ordinal)
        if taken in (Taken.RESULT, Taken.RETRY):
            # the ledger's own fence would let it pass
            assert self.ledger[key] == (TrialStanding.RUNNING, job.attempt)
        if taken is Taken.RESULT:
            assert key not in self.results
            self.results[key] = job
        self.board.took(job, taken, phone, "t", outcome, outcome.family, "", self.now_s, expected="loaded")
        self._keep()

    @rule(phone=phones, told=st.booleans())
    def process_dies(self, phone: str, told: bool) -> None:
        if (job := self.at[phone]) is not None:
            self.records.append((phone, job))
        self.at[phone] = None
        self.pids[phone] += 1
        if told:
            self.board.lose(phone, "killed", self.now_s)

    @rule(phone=phones)
    def link_is_cut(self, phone: str) -> None:
        self.board.lose(phone, "silent", self.now_s)

    @rule(phone=phones, drained=st.booleans())
    def drain(self, phone: str, drained: bool) -> None:
        self.board.drain(phone, "by me" if drained else None)

    @rule(phone=phones, for_s=st.sampled_from([None, 10.0]))
    def reserve(self, phone: str, for_s: float | None) -> None:
        self.board.reserve(phone, None if for_s is None else self.now_s + for_s, "me")

    @rule(phone=phones, passed=st.booleans())
    def examined(self, phone: str, passed: bool) -> None:
        self.board.orders(phone, self.now_s)
        self.board.examined(phone, passed, "words", self.now_s)

    @precondition(lambda self: len(self.trials) > 1)
    @rule()
    def cancel(self) -> None:
        self.board.cancel("run1", "me")

    @precondition(lambda self: self.trials)
    @rule()
    def hub_restarts(self) -> None:
        """As the coordinator does it: the board is made anew of what the ledger has."""
        self._keep()
        former, self.board = self.board, Board()
        for phone, known in former.phones.items():
            self.board.restore(Mark(phone, known.drained, known.out, known.reserved_until_s, known.reserved_by))
        for run_id, run in former.runs.items():
            left, under_way = [], {}
            for key, trial in former.standing(run_id).trials.items():
                state, attempt = self.ledger.get((run_id, *key), (TrialStanding.WAITING, 1))
                if state in (TrialStanding.DONE, TrialStanding.GIVEN_UP):
                    continue
                planned = trial.planned
                left.append(
                    BoardTrial(*key, planned.number, planned.duration_s, planned.model, planned.push_s, 0.0, attempt)
                )
                if state is TrialStanding.RUNNING:
                    assert trial.phone is not None
                    under_way[key] = trial.phone
            self.trials[run_id] = len(left)
            self.board.add_run(run, left, self.now_s, under_way)

    def _keep(self) -> None:
        for change in self.board.take_changes():
            key = (change.job.run_id, change.job.case, change.job.ordinal)
            before = self.ledger.get(key, (TrialStanding.WAITING, 1))
            assert before[0] not in (TrialStanding.DONE, TrialStanding.GIVEN_UP), "an ended trial changed"
            assert change.job.attempt >= before[1]
            self.ledger[key] = (change.state, change.job.attempt)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        for run_id, total in self.trials.items():
            assert sum(self.board.counts(run_id).values()) == total

    @invariant()
    def a_phone_has_one_job(self) -> None:
        jobs = [phone.job for phone in self.board.phones.values() if phone.job is not None]
        assert len({(job.run_id, job.case, job.ordinal) for job in jobs}) == len(jobs)

    @invariant()
    def the_forecast_can_be_told(self) -> None:
        for end_s in ends_in_s(self.board, self.now_s).values():
            assert end_s is None or 0.0 <= end_s < 1e9

    def teardown(self) -> None:
        """All is well from now on: then each run ends."""
        for phone in PHONES:
            self.board.drain(phone, None)
            self.board.reserve(phone, None, "")
        for _ in range(HEALED_STEPS):
            if all(self.board.is_over(run_id) for run_id in self.trials):
                break
            self.now_s += STEP_S
            for phone in PHONES:
                self.finish(phone, told=True)
                self.announce(phone)
                if self.board.orders(phone, self.now_s).examine:
                    self.board.examined(phone, True, "all is well", self.now_s)
            while self.records:
                self._deliver(*self.records.pop(), Outcome.LOADED, False)
            self.assign()
        self._keep()
        for run_id in self.trials:
            assert self.board.is_over(run_id), f"{run_id}: {self.board.counts(run_id)}"
        ended = [key for key, (state, _) in self.ledger.items() if state is TrialStanding.DONE]
        assert sorted(ended) == sorted(self.results)


TestFarm = Farm.TestCase
TestFarm.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""A run on the board: its trials, what each of them takes, and those that wait in a queue. Sans-IO; for the board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.core.standing import TrialStanding
from harness.farm.board.placement import RunQueue, Waiting
from harness.farm.board.words import BoardRun, BoardTrial
from harness.farm.wire import JobId

GUESS_S = 60.0
"""What a trial takes of which nothing at all is known, nor of any other of its run."""

Key = tuple[str, int]
"""Case and ordinal."""


@dataclass(eq=False)
class TrialOnBoard:
    """A trial of a run, now."""

    planned: BoardTrial
    attempt: int
    """Number of the one under way; of a waiting trial, of the next."""
    waiting: Waiting
    state: TrialStanding = TrialStanding.WAITING
    phone: str | None = None
    assigned_s: float = 0.0
    tried: list[tuple[int, str, str]] = field(default_factory=list)
    """Attempts that were lost or spoilt: number, phone, why."""

    @property
    def key(self) -> Key:
        return self.planned.case, self.planned.ordinal

    def tried_text(self) -> str:
        """Why there is no result."""
        return "; ".join(f"attempt {number} on {phone}: {why}" for number, phone, why in self.tried)


class RunOnBoard:
    """A run, now. The board alone changes it."""

    def __init__(self, run: BoardRun, trials: Iterable[BoardTrial]) -> None:
        self.run = run
        self.cancelled: str | None = None
        """By whom."""
        self.queue = RunQueue()
        self.trials: dict[Key, TrialOnBoard] = {}
        self.counts: Counter[TrialStanding] = Counter()
        self._learnt: dict[str, tuple[float, int]] = {}
        self._of_case: dict[str, list[TrialOnBoard]] = {}
        trials = tuple(trials)
        self._longest_s: dict[str, float] = {}
        for trial in trials:
            if trial.duration_s is not None:
                self._longest_s[trial.model] = max(self._longest_s.get(trial.model, 0.0), trial.duration_s)
        self.is_known = bool(self._longest_s)
        """Whether it is known of any trial what it takes."""
        for trial in trials:
            waiting = Waiting(
                trial.case,
                trial.ordinal,
                trial.number,
                trial.model,
                self.takes_s(trial),
                trial.push_s or 0.0,
                trial.pause_s,
            )
            standing = TrialOnBoard(trial, trial.attempt, waiting)
            self.trials[standing.key] = standing
            self.counts[TrialStanding.WAITING] += 1
            if trial.duration_s is None:
                self._of_case.setdefault(trial.case, []).append(standing)

    @property
    def order(self) -> tuple[int, float, str]:
        """The smallest goes first."""
        return -self.run.priority, self.run.submitted_s, self.run.run_id

    @property
    def is_over(self) -> bool:
        return not (self.counts[TrialStanding.WAITING] or self.counts[TrialStanding.RUNNING])

    def job(self, trial: TrialOnBoard) -> JobId:
        """Its attempt now, or the next."""
        return JobId.model_construct(
            run_id=self.run.run_id, case=trial.planned.case, ordinal=trial.planned.ordinal, attempt=trial.attempt
        )

    def takes_s(self, trial: BoardTrial) -> float:
        """With the rest after it. What is not known counts as the longest that is, so that it is learnt early."""
        takes_s = trial.duration_s
        if takes_s is None and trial.case in self._learnt:
            takes_s = self._learnt[trial.case][0]
        if takes_s is None:
            takes_s = self._longest_s.get(trial.model)
        if takes_s is None:
            takes_s = max(self._longest_s.values(), default=GUESS_S)
        return max(takes_s, 0.001) + trial.pause_s

    def enter(self, trial: TrialOnBoard, state: TrialStanding) -> None:
        """The trial's new state; the queue follows."""
        if trial.state is TrialStanding.WAITING and trial.waiting.ticket:
            self.queue.remove(trial.waiting)
        self.counts[trial.state] -= 1
        self.counts[state] += 1
        trial.state = state
        if state is TrialStanding.WAITING:
            trial.phone = None
            trial.waiting.takes_s = self.takes_s(trial.planned)
            self.queue.put(trial.waiting)

    def learn(self, trial: TrialOnBoard, took_s: float) -> None:
        """What a trial of a case took of which no record told: the others of the case count so from now on."""
        if trial.planned.duration_s is not None or took_s <= 0:
            return
        case = trial.planned.case
        mean_s, times = self._learnt.get(case, (0.0, 0))
        self._learnt[case] = ((mean_s * times + took_s) / (times + 1), times + 1)
        self._longest_s.setdefault(trial.planned.model, took_s)
        self.is_known = True
        if times not in (0, 2, 9):
            # a better mean is worth new places only a few times
            return
        for other in self._of_case[case]:
            if other.state is TrialStanding.WAITING and other.waiting.ticket:
                self.queue.remove(other.waiting)
                other.waiting.takes_s = self.takes_s(other.planned)
                self.queue.put(other.waiting)

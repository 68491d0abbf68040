"""When the runs of a board will have ended: its waiting trials played through by the placement's own rule. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from harness.core.standing import TrialStanding
from harness.farm.board.board import Board
from harness.farm.board.placement import RunQueue
from harness.farm.board.runs import RunOnBoard
from harness.farm.board.words import BoardRun, BoardTrial

EVERY_S = 5.0
SHARE = 0.02
"""Of the hub's time, at most, goes into forecasts."""

_Root = tuple[str, str]


def ends_in_s(
    board: Board, now_s: float, also: Iterable[tuple[BoardRun, Sequence[BoardTrial]]] = ()
) -> dict[str, float | None]:
    """Seconds from now to the end of each run, by its id; None: it is not known of any of its trials what it takes, or
    no phone may run what is left.

    `also`: runs that the board does not have yet, as if they were submitted now. Phones that are gone, out, drained or
    reserved take no part; phones are taken to come and go no more, and every trial to end at its first attempt.
    """
    return _Play(board, now_s, also).ends()


class KnownEnds:
    """Of the runs of a board, as they were foreseen some seconds ago: for whoever asks again and again."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ends: dict[str, float | None] = {}
        self._again_at_s = 0.0

    def of(self, run_id: str, clock: Callable[[], float]) -> float | None:
        """Seconds from then to the run's end; None: not known."""
        now_s = clock()
        if now_s >= self._again_at_s:
            self._ends = ends_in_s(self._board, now_s)
            self._again_at_s = now_s + max(EVERY_S, (clock() - now_s) / SHARE)
        return self._ends.get(run_id)


class _Play:
    def __init__(self, board: Board, now_s: float, also: Iterable[tuple[BoardRun, Sequence[BoardTrial]]]) -> None:
        self._now_s = now_s
        self._board = board
        standings = [board.standing(run_id) for run_id in board.runs]
        self._runs: list[tuple[RunOnBoard, RunQueue]] = [(run, run.queue.copy()) for run in standings]
        for run, trials in also:
            standing = RunOnBoard(run, trials)
            for trial in standing.trials.values():
                standing.queue.put(trial.waiting)
            for name in board.phones:
                if board.may_take(name) and run.target.means(board.phones[name].said):
                    standing.queue.join(name, board.phones[name].models)
            self._runs.append((standing, standing.queue))
        self._runs.sort(key=lambda pair: pair[0].order)
        self._ends: dict[str, float] = {run.run.run_id: 0.0 for run, _ in self._runs}
        self._roots: dict[_Root, float] = {}

    def ends(self) -> dict[str, float | None]:
        free = self._free_phones()
        heapq.heapify(free)
        queues: dict[str, list[tuple[str, RunQueue]]] = {}
        for run, queue in self._runs:
            for name in queue.crew:
                queues.setdefault(name, []).append((run.run.run_id, queue))
        while free:
            at_s, name = heapq.heappop(free)
            if (until_s := self._next(at_s, name, queues.get(name, ()))) is not None:
                heapq.heappush(free, (until_s, name))
        return {run.run.run_id: self._end(run, queue) for run, queue in self._runs}

    def _end(self, run: RunOnBoard, queue: RunQueue) -> float | None:
        if run.is_over:
            return 0.0
        return None if queue or not run.is_known else self._ends[run.run.run_id]

    def _free_phones(self) -> list[tuple[float, str]]:
        """When each phone is free, from now; the trials under way end meanwhile."""
        free = {}
        for name, phone in self._board.phones.items():
            if self._board.may_take(name):
                free[name] = max(0.0, phone.rests_until_s - self._now_s)
        for run, queue in self._runs:
            for trial in run.trials.values():
                if trial.state is not TrialStanding.RUNNING:
                    continue
                left_s = max(0.0, trial.assigned_s + trial.waiting.takes_s - self._now_s)
                run_id = run.run.run_id
                self._ends[run_id] = max(self._ends[run_id], left_s - trial.planned.pause_s)
                queue.running_s -= trial.waiting.takes_s
                if trial.phone in free:
                    phone = self._board.phones[trial.phone]
                    if phone.job is not None and phone.job == run.job(trial):
                        free[trial.phone] = max(free[trial.phone], left_s)
        return [(at_s, name) for name, at_s in free.items()]

    def _next(self, at_s: float, name: str, queues: Iterable[tuple[str, RunQueue]]) -> float | None:
        """When the phone is free again; None: there is nothing more for it."""
        for run_id, queue in queues:
            if not queue:
                continue
            before = queue.known(name)
            if (trial := queue.take(name)) is None:
                continue
            # it runs no more once its phone is asked again, near enough
            queue.running_s -= trial.takes_s
            begins_s = at_s
            if queue.known(name) != before and trial.push_s:
                begins_s = self._pushed(at_s, name, trial.push_s)
                for _, other in queues:
                    other.gained(name, trial.model)
            until_s = begins_s + trial.takes_s
            self._ends[run_id] = max(self._ends[run_id], until_s - trial.pause_s)
            return until_s
        return None

    def _pushed(self, at_s: float, name: str, push_s: float) -> float:
        said = self._board.phones[name].said
        if said.usb_root is None:
            return at_s + push_s
        root = (said.host, said.usb_root)
        self._roots[root] = max(at_s, self._roots.get(root, 0.0)) + push_s
        return self._roots[root]

"""What has happened between two looks, one change a line: for a terminal that keeps its lines, and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from harness.report.end_words import end_text
from harness.report.live import Progress, RunProgress, RunState, TrialEnd, TrialNow
from harness.report.live_words import count_text, memory_text, now_text, run_text, state_text, step_text


class ChangeKind(StrEnum):
    RUN = "run"
    """Seen for the first time."""
    STEP = "step"
    TRIAL_BEGINS = "trial_begins"
    PHASE = "phase"
    MEMORY = "memory"
    TRIAL_ENDED = "trial_ended"
    RUN_STATE = "run_state"
    """It has ended, or its process is gone."""


@dataclass(frozen=True)
class Change:
    kind: ChangeKind
    run: RunProgress
    trial: TrialNow | TrialEnd | None = None

    @property
    def text(self) -> str:
        """For a person, without time; names in it are as hostile as they came."""
        run, trial = self.run, self.trial
        if isinstance(trial, TrialEnd):
            return f"{_numbered(run, trial.name)}  {end_text(trial)}"
        if isinstance(trial, TrialNow):
            words = {
                ChangeKind.TRIAL_BEGINS: f"begins, attempt {trial.attempt}" if trial.attempt > 1 else "begins",
                ChangeKind.PHASE: f"phase {trial.phase}",
                ChangeKind.MEMORY: memory_text(trial.memory),
            }
            return f"{now_text(trial)}  {words[self.kind]}"
        if self.kind is ChangeKind.STEP:
            return f"{run_text(run)}  {step_text(run)}"
        return f"{run_text(run)}  run {run.run_id}  {state_text(run)}, {count_text(run)}"

    @property
    def data(self) -> dict[str, Any]:
        """For a machine: the run's id and figures with each, the trial where there is one."""
        run, trial = self.run, self.trial
        told: dict[str, Any] = {"change": self.kind.value, "run_id": run.run_id}
        told |= {"state": run.state.value, "done": run.done, "total": run.total, "failures": run.failures}
        if self.kind is ChangeKind.STEP:
            told |= {"step": run.step, "step_share": run.step_share}
        if trial is not None:
            told |= {"trial": trial_data(trial)}
        elif self.kind in (ChangeKind.RUN, ChangeKind.RUN_STATE):
            told |= {"run": run_data(run)}
        return told


def changes(before: Progress | None, after: Progress) -> Iterator[Change]:
    """In order of time within a run; of a run that is new, what failed before too."""
    known = {} if before is None else {run.run_id: run for run in before.runs}
    for run in after.runs:
        old = known.get(run.run_id)
        if old is None:
            yield Change(ChangeKind.RUN, run)
            yield from (Change(ChangeKind.TRIAL_ENDED, run, end) for end in run.ended if end.failed)
        else:
            seen = {end.trial_id for end in old.ended}
            yield from (Change(ChangeKind.TRIAL_ENDED, run, end) for end in run.ended if end.trial_id not in seen)
        yield from _of_now(old, run)
        if old is not None and run.state is not old.state:
            yield Change(ChangeKind.RUN_STATE, run)


def _of_now(old: RunProgress | None, run: RunProgress) -> Iterator[Change]:
    before = {} if old is None else {trial.trial_id: trial for trial in old.now}
    if run.step is not None and (old is None or run.step != old.step):
        yield Change(ChangeKind.STEP, run)
    for trial in run.now:
        was = before.get(trial.trial_id)
        if was is None and run.state is not RunState.GONE:
            yield Change(ChangeKind.TRIAL_BEGINS, run, trial)
        if trial.phase is not None and (was is None or trial.phase != was.phase):
            yield Change(ChangeKind.PHASE, run, trial)
        if trial.memory is not None and (was is None or trial.memory != was.memory):
            yield Change(ChangeKind.MEMORY, run, trial)


def run_data(run: RunProgress) -> dict[str, Any]:
    """A whole run for a machine: figures with their units in the names; null: not known."""
    told = asdict(run)
    told["state"] = run.state.value
    told["now"] = [trial_data(trial) for trial in run.now]
    told["ended"] = [trial_data(trial) for trial in run.ended]
    told["outcomes"] = dict(run.outcomes)
    return told


def trial_data(trial: TrialNow | TrialEnd) -> dict[str, Any]:
    """A trial for a machine, without the memory's history: its stream is kept with the record."""
    told = asdict(trial)
    if isinstance(trial, TrialNow) and trial.memory is not None:
        told["memory"].pop("points")
        told["memory"]["limit_bytes"] = trial.memory.limit_bytes
    return told


def _numbered(run: RunProgress, name: str) -> str:
    return f"[{run.done}/{run.total}] {name}" if run.total is not None else name

"""What the hub asks Dask to run on a phone's process; it is found there by its import path. Plain data in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

RunJob = Callable[[Mapping[str, Any]], dict[str, Any]]

REPORT_TOPIC = "farm-report"
"""Of the event by which a report goes to the hub on the connection that its worker made: nobody calls a host."""

_runner: list[RunJob] = []


def runs_here(run_job: RunJob) -> None:
    """Trials that come to this process are this one's to run; a process has one phone."""
    _runner[:] = [run_job]


def run_trial(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a `TrialJob` in the process of a phone; gives a `JobReport`. Blocks its thread until the trial is over."""
    if not _runner:
        raise RuntimeError("this process has no phone")
    report = _runner[0](plain)
    _tell_hub(report)
    return report


def _tell_hub(report: dict[str, Any]) -> None:
    """Before Dask tells that the task has ended, which goes the same way."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        # called without Dask
        return
    worker.log_event(REPORT_TOPIC, report)

"""From a job as the hub sends it to a turn on the phone: the suite read, the trial found, files put in their places.

Pure but for `bench.suite`'s look at where relative paths lead. What cannot be run here is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.run_options import PreflightMode, RunOptions
from harness.bench.shared_phone import Turn
from harness.bench.suite import Suite, read_suite
from harness.core.errors import UsageError
from harness.farm.wire import SUITE_FILE, FileRef, FileUse, JobOptions, TrialJob
from harness.runner.choice import EDITIONS


class Refused(UsageError):
    """The trial cannot be run on this host, and another attempt would end the same."""


@dataclass(frozen=True)
class ReadJob:
    """A job whose suite has been read."""

    job: TrialJob
    suite: Suite
    planned: PlannedTrial

    @property
    def model_file(self) -> FileRef | None:
        """The file of the trial's model, if it came along."""
        name = self.planned.case.model.name
        return next((ref for ref in self.job.options.files if ref.use is FileUse.MODEL and ref.name == name), None)

    @property
    def runner_files(self) -> tuple[FileRef, ...]:
        return tuple(ref for ref in self.job.options.files if ref.use is FileUse.RUNNER)


def read_job(job: TrialJob, *, own_paths: bool = False) -> ReadJob:
    """Raises Refused: another suite than the hub's, no such trial, a model's path without its file."""
    suite = _suite(job.suite_text, job.base)
    if suite.digest != job.suite_digest:
        raise Refused(
            f"this host reads the suite as {suite.digest}, the hub as {job.suite_digest}: they have different versions "
            "of the harness, or the suite's folder is a link here"
        )
    trials = _trials(job.suite_text, job.base)
    planned = trials.get((job.job.case, job.job.ordinal))
    if planned is None:
        raise Refused(f"the suite {suite.name} has no trial {job.job.case}#{job.job.ordinal}")
    read = ReadJob(job, suite, replace(planned, attempt=job.job.attempt))
    entry = planned.case.model
    if entry.path is not None and read.model_file is None and not own_paths:
        raise Refused(
            f"model {entry.name}: its file {entry.path} did not come with the run, and paths mean nothing here"
        )
    return read


def turn_of(read: ReadJob, files: Mapping[str, Path], host_runner: Sequence[str], *, own_paths: bool = False) -> Turn:
    """The trial with its files (by digest) in their places. Raises Refused for options that make no sense here."""
    planned, ref = read.planned, read.model_file
    if ref is not None:
        entry = planned.case.model.model_copy(update={"path": files[ref.sha256], "url": None, "synth": None})
        planned = replace(planned, case=replace(planned.case, model=entry))
    job = read.job
    runner = tuple(str(files[one.sha256]) for one in read.runner_files)
    return Turn(
        job.job.run_id, _options(job.options, runner, tuple(host_runner), own_paths), planned, job.number, job.total
    )


def _options(told: JobOptions, runner: tuple[str, ...], host: tuple[str, ...], own_paths: bool) -> RunOptions:
    if not runner:
        strange = [word for word in told.runner if word not in EDITIONS]
        if strange and not own_paths:
            raise Refused(f"runner {strange[0]!r}: over the wire only {', '.join(EDITIONS)}; an .ipa comes as a file")
        runner = host if told.runner == ("auto",) else told.runner
    try:
        preflight = None if told.preflight is None else PreflightMode(told.preflight)
    except ValueError:
        raise Refused(f"preflight {told.preflight!r}: one of {', '.join(PreflightMode)}") from None
    return RunOptions(
        runner=runner,
        transport=told.transport,
        keep=told.keep,
        preflight=preflight,
        build=told.build,
        lease_wait_s=0.0,
    )


@lru_cache(maxsize=4)
def _suite(text: str, base: str) -> Suite:
    return read_suite(text, Path(base) / SUITE_FILE)


@lru_cache(maxsize=4)
def _trials(text: str, base: str) -> Mapping[tuple[str, int], PlannedTrial]:
    return {(planned.case.name, planned.ordinal): planned for planned in plan_trials(_suite(text, base))}

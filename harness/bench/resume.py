"""Which run goes on: a new one, or one that was cut short.

A run is held by a lock beside the results for as long as its process lives, so that nobody goes on with one that is
under way. Which of its trials have been run is what the records say; nothing else is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from harness.bench.plan import PlannedTrial
from harness.bench.trial import new_id
from harness.core.phone import DeviceWord, PhoneFacts, Virtual
from harness.core.record import TrialRecord, TrialState
from harness.device.lease import HostLock, LockFolder
from harness.store.database import ResultStore
from harness.store.salvage import salvage

LOCKS_FOLDER = ".runs"

Tell = Callable[[str], None]
Salvaged = Callable[[TrialRecord], None]


@dataclass(frozen=True)
class RunAtHand:
    """A run that this process may add trials to, until it lets go of it."""

    run_id: str
    left: tuple[PlannedTrial, ...]
    """What is to be run, in order; a trial that was cut short is there as its next attempt."""
    records: tuple[TrialRecord, ...] = ()
    """Of the trials that earlier processes have run."""


@dataclass(frozen=True)
class Resumable:
    """What to look for among the runs of a results folder."""

    suite_digest: str
    word: DeviceWord

    def is_on(self, record: TrialRecord, facts: PhoneFacts) -> bool:
        """Whether the trial was on the phone at hand.

        A phone is known by its UDID. A virtual one that lives and ends with the command has that of whichever slot was
        free, so there it is another one of the same kind and settings.
        """
        if not isinstance(self.word, Virtual):
            return (record.device_udid, record.device_os_build) == (facts.udid, facts.os_build)
        return (
            record.device_kind, record.device_product_type, record.device_os_build, record.device_settings
        ) == (facts.kind, facts.product_type, facts.os_build, facts.settings)  # fmt: skip  # two rows to compare


@contextmanager
def new_run(store: ResultStore, planned: Sequence[PlannedTrial] = ()) -> Iterator[RunAtHand]:
    """A run of its own; `planned` may be none, where somebody else knows what is run."""
    run_id = new_id(datetime.now(UTC))
    lock = _locks(store).try_take(run_id, "run")
    assert lock is not None, "nobody else has this id"
    try:
        yield RunAtHand(run_id, tuple(planned))
    finally:
        lock.release()


@contextmanager
def resumed_run(
    store: ResultStore,
    facts: PhoneFacts,
    wanted: Resumable,
    planned: Sequence[PlannedTrial],
    tell: Tell,
    salvaged: Salvaged,
) -> Iterator[RunAtHand]:
    """The newest run of that suite on that phone that is not complete; a new one, and a word of it, without one."""
    # the run's process may have lived when the results were opened, and ended while we waited for its phone
    for record in salvage(store):
        salvaged(record)
    found = _take_unfinished(store, facts, wanted, planned, tell)
    if found is None:
        tell(f"nothing to resume: {store.folder} has no unfinished run of this suite on this phone; a new run begins")
        with new_run(store, planned) as run:
            yield run
        return
    run, lock = found
    tell(f"run {run.run_id} goes on: {len(planned) - len(run.left)} of {len(planned)} trials have been run")
    try:
        yield run
    finally:
        lock.release()


def _take_unfinished(
    store: ResultStore, facts: PhoneFacts, wanted: Resumable, planned: Sequence[PlannedTrial], tell: Tell
) -> tuple[RunAtHand, HostLock] | None:
    records = store.trials(suite_digest=wanted.suite_digest)
    for run_id in sorted({record.run_id for record in records if wanted.is_on(record, facts)}, reverse=True):
        lock = _locks(store).try_take(run_id, "resumed run")
        if lock is None:
            tell(f"run {run_id} is left alone: another process is at it")
            continue
        # read under the lock: what its last process did is complete
        run = remaining(run_id, store.trials(run_id=run_id, suite_digest=wanted.suite_digest), planned)
        if run.left:
            return run, lock
        lock.release()
    return None


def remaining(run_id: str, records: Sequence[TrialRecord], planned: Sequence[PlannedTrial]) -> RunAtHand:
    """What of the plan is left, by the records of the run. Pure."""
    of_trial: dict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
    for record in records:
        of_trial[record.case, record.ordinal].append(record)
    left: list[PlannedTrial] = []
    kept: list[TrialRecord] = []
    for trial in planned:
        attempts = of_trial[trial.case.name, trial.ordinal]
        run = [record for record in attempts if record.state == TrialState.DONE and not record.cut_short]
        kept += run
        if not run:
            left.append(replace(trial, attempt=1 + max((record.attempt for record in attempts), default=0)))
    return RunAtHand(run_id, tuple(left), tuple(sorted(kept, key=lambda record: record.trial_id)))


def _locks(store: ResultStore) -> LockFolder:
    return LockFolder(store.folder / LOCKS_FOLDER)

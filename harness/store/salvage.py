"""What is left of trials whose process is gone: closed as `harness_error`, with the readings that reached the disk."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.core.outcome import Evidence, EvidenceKind, Outcome
from harness.core.record import TrialRecord, TrialState
from harness.core.telemetry import Source
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.owner import dead_owner
from harness.store.telemetry import PART_SUFFIX, SPOOL_SUFFIX, read_parquet, recover, write_parquet

BROKEN_SUFFIX = ".broken"
"""A spool that could not be read is kept under this suffix: it may still be evidence."""


def salvage(store: ResultStore) -> list[TrialRecord]:
    """Closes the trials of processes that are gone (`cut_short`, outcome `harness_error`) and returns their records.

    Their telemetry is taken from the spools; half-written files are removed. Trials of living processes are left
    alone. Several processes may do it at once: each trial is closed by one of them.
    """
    by_owner: dict[str, list[str]] = defaultdict(list)
    for trial_id, token in store.claimed().items():
        by_owner[token].append(trial_id)
    salvaged: list[TrialRecord] = []
    for token, trial_ids in by_owner.items():
        with dead_owner(store.folder, token) as dead:
            if dead:
                # asked again: another process may have closed them before we held the lock
                still_running = store.trials(trial_id=trial_ids, state=TrialState.RUNNING.value)
                salvaged += [_close(store, record) for record in still_running]
    _tidy(store)
    return salvaged


def _close(store: ResultStore, record: TrialRecord) -> TrialRecord:
    spool = store.spool_path(record.trial_id)
    parquet = store.telemetry_path(record.trial_id)
    trouble = ""
    kept = _Kept(0, 0, None)
    try:
        if not parquet.exists() and spool.exists():
            readings = recover(spool)
            if readings:
                write_parquet(parquet, readings)
        if parquet.exists():
            kept = _look(parquet)
    except StoreError as error:
        trouble = f"; its telemetry is lost: {error}"
        if spool.exists():
            spool.rename(spool.with_name(spool.name + BROKEN_SUFFIX))
    # an abandoned trial of a store that this very process has closed
    how = "let go of the results" if record.host_pid == os.getpid() else "was gone"
    reason = (
        f"the harness process {record.host_pid} {how} before the trial ended; "
        f"recovered {kept.app_samples} samples{trouble}"
    )
    done = replace(
        record,
        state=TrialState.DONE.value,
        cut_short=True,
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        outcome=Outcome.HARNESS_ERROR.value,
        outcome_family=Outcome.HARNESS_ERROR.family.value,
        reason=reason,
        evidence=(*record.evidence, Evidence(EvidenceKind.STEP, reason, decisive=True)),
        sample_count=kept.app_samples,
        last_sample_ns=kept.last_app_ns,
        telemetry_file=parquet.relative_to(store.folder).as_posix() if kept.readings else None,
    )
    store.close_row(done)
    return done


@dataclass(frozen=True)
class _Kept:
    readings: int
    app_samples: int
    last_app_ns: int | None


def _look(parquet: Path) -> _Kept:
    frame = read_parquet(parquet)
    app_times = frame.loc[frame["source"] == Source.APP.value, "t_ns"]
    return _Kept(len(frame), len(app_times), int(app_times.max()) if len(app_times) else None)


def _tidy(store: ResultStore) -> None:
    """Removes spools of done trials (their Parquet file is complete) and half-written files of all but running ones."""
    # listed before the rows are read: a file that a living process makes later is not in the list
    files = sorted((store.folder / "telemetry").iterdir())
    trial_ids = {path: path.name.partition(".")[0] for path in files}
    running = set(store.claimed())
    spooled = {trial_id for path, trial_id in trial_ids.items() if path.suffix == SPOOL_SUFFIX}
    done = set(store.trial_ids(trial_id=spooled, state=TrialState.DONE.value))
    for path, trial_id in trial_ids.items():
        half_written = path.suffix == PART_SUFFIX and trial_id not in running
        spent = path.suffix == SPOOL_SUFFIX and trial_id in done
        if half_written or spent:
            path.unlink(missing_ok=True)

"""A host's own results, on their way to its farm's hub: what is still to be delivered, and what may go.

Every done record is delivered once; a copy stays for some days, so that what a hub has lost is still to be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from harness.core.record import TrialRecord, TrialState
from harness.core.standing import Kept
from harness.store.database import ResultStore
from harness.store.exchange.files import remove
from harness.store.exchange.merge import LOCK_NAME
from harness.store.farm_ledger import insert_into
from harness.store.owner import exclusive
from harness.store.schema import RECORD_TYPES, deliveries, row_to_record, trials

KEPT_FOR = timedelta(days=14)
"""How long a host keeps what it has delivered, unless it is told otherwise."""
_CHUNK = 200


def undelivered(store: ResultStore, limit: int = 100) -> list[TrialRecord]:
    """Done records that the hub is not known to have, oldest first, at most `limit`."""
    query = (
        select(*(trials.c[name] for name in RECORD_TYPES))
        .outerjoin(deliveries, deliveries.c.trial_id == trials.c.trial_id)
        .where(trials.c.state == TrialState.DONE.value, deliveries.c.trial_id.is_(None))
        .order_by(trials.c.trial_id)
        .limit(limit)
    )
    with store.reading() as connection:
        rows: Sequence[Any] = connection.execute(query).mappings().all()
    return [row_to_record(row) for row in rows]


def mark_delivered(store: ResultStore, trial_id: str, kept: Kept | str, *, at: datetime | None = None) -> None:
    """Keeps that the hub has the trial, and as what; of several times the first counts."""
    row = {
        "trial_id": trial_id,
        "delivered_at": (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds"),
        "kept": Kept(kept).value,
    }
    with store.writing() as connection:
        connection.execute(insert_into(connection, deliveries).values(row).on_conflict_do_nothing())


def old_deliveries(store: ResultStore, before: datetime) -> list[str]:
    """Ids of trials that were delivered before that time, oldest first."""
    earlier = before.astimezone(UTC).isoformat(timespec="milliseconds")
    query = select(deliveries.c.trial_id).where(deliveries.c.delivered_at < earlier).order_by(deliveries.c.trial_id)
    with store.reading() as connection:
        return list(connection.execute(query).scalars())


def remove_old(store: ResultStore, before: datetime) -> list[str]:
    """Removes telemetry, artifacts and rows of those, and returns their ids.

    Never what is undelivered. A process that dies in it leaves rows that say so, and the next one goes on.
    """
    with exclusive(store.folder / LOCK_NAME):
        trial_ids = old_deliveries(store, before)
        for start in range(0, len(trial_ids), _CHUNK):
            _remove(store, trial_ids[start : start + _CHUNK])
    return trial_ids


def _remove(store: ResultStore, ids: Sequence[str]) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    gone = {"telemetry_file": None, "artifacts_dir": None, "files_removed_at": now}
    with store.writing() as connection:
        connection.execute(update(trials).where(trials.c.trial_id.in_(ids)).values(gone))
    for trial_id in ids:
        remove(store.telemetry_path(trial_id))
        remove(store.folder / "artifacts" / trial_id)
    with store.writing() as connection:
        connection.execute(delete(trials).where(trials.c.trial_id.in_(ids)))
        connection.execute(delete(deliveries).where(deliveries.c.trial_id.in_(ids)))

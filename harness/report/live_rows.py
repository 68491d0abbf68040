"""The rows behind the live view: few columns of few runs, so that looking each second costs next to nothing."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from harness.store.errors import StoreError
from harness.store.owner import PLACE_FILE
from harness.store.schema import RECORD_TYPES, claims, trials

COLUMNS = (
    "trial_id",
    "run_id",
    "suite",
    "case",
    "ordinal",
    "attempt",
    "cut_short",
    "suite_digest",
    "arm",
    "state",
    "started_at",
    "finished_at",
    "host_name",
    "device_kind",
    "device_udid",
    "device_product_type",
    "device_os_version",
    "device_settings",
    "origin",
    "outcome",
    "expected_outcome",
    "reason",
    "broken_limits",
    "load_ns",
    "ttft_ns",
    "peak_footprint_bytes",
    "footprint_limit_bytes",
)
_TIME_ID = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{8}")
"""An id as runs and trials get it: it sorts by time, and a run's is older than those of its trials."""


def runs_of_claims(connection: Connection) -> set[str]:
    """Runs with a trial that is not done."""
    return set(
        connection.execute(select(trials.c.run_id).join(claims, claims.c.trial_id == trials.c.trial_id)).scalars()
    )


def claimed_here(connection: Connection, results: Path) -> set[str]:
    """Trials that are not done, and whose files grow in this folder."""
    try:
        place = (results / PLACE_FILE).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return set()
    return set(connection.execute(select(claims.c.trial_id).where(claims.c.place == place)).scalars())


def newest_run(connection: Connection) -> set[str]:
    """The run of the newest trial; empty: there is none."""
    return set(connection.execute(select(trials.c.run_id).order_by(trials.c.trial_id.desc()).limit(1)).scalars())


def _check_ids(runs: Collection[str]) -> None:
    if not all(isinstance(run_id, str) and _TIME_ID.fullmatch(run_id) for run_id in runs):
        raise ValueError("another's ids")


def rows_of_runs(connection: Connection, runs: Collection[str]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Run → its rows, in order of their ids. Raises StoreError for a value that no harness writes."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    if not runs:
        return {}
    query = select(*(trials.c[name] for name in COLUMNS)).where(trials.c.run_id.in_(runs)).order_by(trials.c.trial_id)
    with contextlib.suppress(ValueError):
        # of ids that tell no day there is no begin
        _check_ids(runs)
        # there is no index of runs, and older trials need no look; a day, for a clock may be set back in a run
        begin = datetime.strptime(min(runs)[:8], "%Y%m%d").replace(tzinfo=UTC) - timedelta(days=1)
        query = query.where(trials.c.trial_id >= f"{begin:%Y%m%d}")
    for row in connection.execute(query).mappings():
        found[row["run_id"]].append(_checked(dict(row)))
    return dict(found)


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """SQLite keeps any value in any column."""
    for name, value in row.items():
        plain, optional = RECORD_TYPES[name]
        if type(value) is not plain and not (value is None and optional):
            raise StoreError(
                f"trial {str(row['trial_id'])[:80]}: {name} is {repr(value)[:80]}, which no harness writes there; the "
                "row was written by another program or damaged"
            )
    return row

"""What persons and re-runs have said of changes in series: appended, never altered.

May know `core` and the store's own tables.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import Table, select

from harness.core.errors import UsageError
from harness.core.judgement import Confirmation, ConfirmationResult, Triage, TriageState
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.schema import confirmations as confirmations_table
from harness.store.schema import triage as triage_table

MAX_CHARS = 1000
"""Of a reason, an author, a series: a row is a remark, not a report."""
_MAX_SHOWN = 40
_Note = TypeVar("_Note", Triage, Confirmation)


def keep_triage(
    store: ResultStore,
    series: str,
    first_bad: date,
    state: TriageState,
    reason: str,
    author: str | None = None,
    *,
    at: datetime | None = None,
) -> Triage:
    """Keeps what a person says of the change of `series` (its text) that began on `first_bad`, and returns it.

    `author` None: the login name. Raises UsageError without a reason.
    """
    note = Triage(
        series=_checked("series", series),
        first_bad=first_bad,
        state=state,
        reason=_checked("reason", reason),
        author=_checked("author", author or _login_name()),
        at=at or datetime.now(UTC),
    )
    return _keep(store, triage_table, note)


def triage_notes(store: ResultStore) -> list[Triage]:
    """Everything that persons have said, oldest first. Raises StoreError for a row that cannot be read."""
    return _all(store, triage_table, Triage)


def keep_confirmation(
    store: ResultStore,
    series: str,
    first_bad: date,
    result: ConfirmationResult,
    reason: str,
    run_id: str | None,
    *,
    at: datetime | None = None,
) -> Confirmation:
    """Keeps what a re-run says of the change of `series` (its text) that began on `first_bad`, and returns it."""
    note = Confirmation(
        series=_checked("series", series),
        first_bad=first_bad,
        result=result,
        reason=_checked("reason", reason),
        run_id=run_id,
        at=at or datetime.now(UTC),
    )
    return _keep(store, confirmations_table, note)


def confirmations(store: ResultStore) -> list[Confirmation]:
    """Everything that re-runs have said, oldest first. Raises StoreError for a row that cannot be read."""
    return _all(store, confirmations_table, Confirmation)


def _keep(store: ResultStore, table: Table, note: _Note) -> _Note:
    with store.writing() as connection:
        connection.execute(table.insert().values({one.name: _stored(getattr(note, one.name)) for one in fields(note)}))
    return note


def _stored(value: str | date | None) -> str | None:
    if isinstance(value, StrEnum):
        # a driver may make its name of it
        return value.value
    return value.isoformat() if isinstance(value, date) else value


def _all(store: ResultStore, table: Table, kind: type[_Note]) -> list[_Note]:
    with store.reading() as connection:
        rows = connection.execute(select(table).order_by(table.c.id)).mappings().all()
    notes = []
    for row in rows:
        try:
            values = {one.name: _read(one.name, row[one.name]) for one in fields(kind)}
        except ValueError as error:
            raise StoreError(
                f"table {table.name}, row {row['id']}: {error}; it was written by another program or damaged"
            ) from error
        notes.append(kind(**values))
    return notes


def _checked(name: str, text: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise UsageError(f"{name} is empty; say it in a few words")
    if len(stripped) > MAX_CHARS:
        raise UsageError(f"{name} has {len(stripped)} characters; at most {MAX_CHARS}")
    return stripped


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise UsageError("this host knows no name of yours; give one as the author") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _read(name: str, value: object) -> Any:
    if value is None:
        return None
    # SQLite keeps any value in any column
    if not isinstance(value, str):
        raise ValueError(f"{name} is {str(value)[:_MAX_SHOWN]!r}, which is no text")
    return _READ[name](value) if name in _READ else value


_READ: dict[str, Callable[[Any], Any]] = {
    "first_bad": date.fromisoformat,
    "at": _moment,
    "state": TriageState,
    "result": ConfirmationResult,
}
"""Of the columns whose text stands for something else."""

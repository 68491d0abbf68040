"""What persons and re-runs have said of changes in series: appended, never altered.

May know `core` and the store's own tables.
"""

from __future__ import annotations

import getpass
from datetime import UTC, date, datetime

from sqlalchemy import select

from harness.core.errors import UsageError
from harness.core.judgement import Confirmation, ConfirmationResult, Triage, TriageState
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.schema import confirmations as confirmations_table
from harness.store.schema import triage as triage_table

MAX_CHARS = 1000
"""Of a reason, an author, a series: a row is a remark, not a report."""


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
    with store.writing() as connection:
        connection.execute(
            triage_table.insert().values(
                series=note.series,
                first_bad=note.first_bad.isoformat(),
                state=note.state.value,
                reason=note.reason,
                author=note.author,
                at=note.at.isoformat(),
            )
        )
    return note


def triage_notes(store: ResultStore) -> list[Triage]:
    """Everything that persons have said, oldest first. Raises StoreError for a row that cannot be read."""
    with store.reading() as connection:
        rows = connection.execute(select(triage_table).order_by(triage_table.c.id)).mappings().all()
    notes = []
    for row in rows:
        try:
            notes.append(
                Triage(
                    series=row["series"],
                    first_bad=date.fromisoformat(row["first_bad"]),
                    state=TriageState(row["state"]),
                    reason=row["reason"],
                    author=row["author"],
                    at=_moment(row["at"]),
                )
            )
        except ValueError as error:
            raise _unreadable("triage", row["id"], error) from error
    return notes


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
    with store.writing() as connection:
        connection.execute(
            confirmations_table.insert().values(
                series=note.series,
                first_bad=note.first_bad.isoformat(),
                result=note.result.value,
                reason=note.reason,
                run_id=note.run_id,
                at=note.at.isoformat(),
            )
        )
    return note


def confirmations(store: ResultStore) -> list[Confirmation]:
    """Everything that re-runs have said, oldest first. Raises StoreError for a row that cannot be read."""
    with store.reading() as connection:
        rows = connection.execute(select(confirmations_table).order_by(confirmations_table.c.id)).mappings().all()
    notes = []
    for row in rows:
        try:
            notes.append(
                Confirmation(
                    series=row["series"],
                    first_bad=date.fromisoformat(row["first_bad"]),
                    result=ConfirmationResult(row["result"]),
                    reason=row["reason"],
                    run_id=row["run_id"],
                    at=_moment(row["at"]),
                )
            )
        except ValueError as error:
            raise _unreadable("confirmations", row["id"], error) from error
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


def _unreadable(table: str, row: int, error: ValueError) -> StoreError:
    return StoreError(f"table {table}, row {row}: {error}; it was written by another program or damaged")

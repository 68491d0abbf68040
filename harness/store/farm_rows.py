"""What a farm's hub keeps of runs, trials and phones: plain values, their way into rows and back, every value checked.

Pure: no connection is opened here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

from sqlalchemy import Table

from harness.core.standing import GivenUpBy, RunStanding, TrialStanding
from harness.core.units import INT64_MAX, INT64_MIN
from harness.store.errors import StoreError
from harness.store.schema import REPLACEMENT, farm_phones, farm_runs, farm_trials, plain_type

_MAX_SHOWN = 80


@dataclass(frozen=True)
class LedgerRun:
    """A suite on one target. Times are ISO 8601 in UTC."""

    run_id: str
    suite: str
    suite_digest: str
    suite_text: str
    base: str
    target: str
    priority: int
    attempts: int
    options: Mapping[str, Any]
    """Plain JSON values."""
    submitted_by: str
    submitted_at: str
    state: str = RunStanding.ACTIVE.value
    ended_at: str | None = None
    planned_s: float | None = None
    """As told when it was submitted; None: nothing was known."""


@dataclass(frozen=True)
class LedgerTrial:
    """A trial of such a run, and how it stands."""

    run_id: str
    case: str
    ordinal: int
    number: int
    """In the suite's order, from 1."""
    attempt: int
    state: str = TrialStanding.WAITING.value
    phone: str | None = None
    host: str | None = None
    trial_id: str | None = None
    """Of the record that counts."""
    reason: str = ""
    """Why it waits again, or was given up."""
    given_up_by: str | None = None
    """None: it is not given up."""


@dataclass(frozen=True)
class LedgerPhone:
    """What has been said of a phone, or of a host that is drained; of others there is no row."""

    phone: str
    drained: str | None = None
    """By whom and why."""
    out: str | None = None
    """Why it takes no trials until it passes `doctor`."""
    reserved_until: str | None = None
    """ISO 8601, UTC."""
    reserved_by: str = ""
    reason: str = ""
    """Of the reservation."""


_Row = TypeVar("_Row", LedgerRun, LedgerTrial, LedgerPhone)

TABLES: dict[type, Table] = {LedgerRun: farm_runs, LedgerTrial: farm_trials, LedgerPhone: farm_phones}
_CHOICES: dict[tuple[type, str], type[StrEnum]] = {
    (LedgerRun, "state"): RunStanding,
    (LedgerTrial, "state"): TrialStanding,
    (LedgerTrial, "given_up_by"): GivenUpBy,
}
_TIMES = ("submitted_at", "ended_at", "reserved_until")


_TYPES: dict[type, dict[str, tuple[type, bool]]] = {
    kind: {name: plain_type(hint) for name, hint in get_type_hints(kind).items()} for kind in TABLES
}
"""Of each kind: field → (plain Python type, may be None)."""


def to_row(value: LedgerRun | LedgerTrial | LedgerPhone) -> dict[str, Any]:
    """The values of a row. Raises StoreError for what no row may hold."""
    row = {name: _stored(getattr(value, name)) for name in _TYPES[type(value)]}
    _check(type(value), row, "the farm's ledger keeps no such value")
    return row


def from_row(kind: type[_Row], row: Mapping[str, Any]) -> _Row:
    """Raises StoreError for a row that this program would not write."""
    values = {name: row[name] for name in _TYPES[kind]}
    _check(kind, values, "the row was written by another program or damaged")
    return kind(**values)


def _stored(value: Any) -> Any:
    if isinstance(value, StrEnum):
        # a driver may make its name of it
        return value.value
    if isinstance(value, str):
        # PostgreSQL takes no NUL in a text
        return value.replace("\0", REPLACEMENT)
    return dict(value) if isinstance(value, Mapping) else value


def _check(kind: type, values: Mapping[str, Any], so: str) -> None:
    """SQLite keeps any value in any column."""
    for name, (plain, optional) in _TYPES[kind].items():
        value = values[name]
        if value is None and optional:
            continue
        if not _fits(value, plain) or not _has_sense(kind, name, value):
            which = "/".join(str(values[column.name])[:_MAX_SHOWN] for column in TABLES[kind].primary_key)
            raise StoreError(f"table {TABLES[kind].name}, {which}: {name} is {repr(value)[:_MAX_SHOWN]}; {so}")


def _fits(value: object, plain: type) -> bool:
    if plain is int:
        return type(value) is int and INT64_MIN <= value <= INT64_MAX
    if plain is float:
        # NaN is unequal to all; so is infinity to what it leaves of itself
        return type(value) in (int, float) and value - value == 0  # type: ignore[operator]  # a number
    return isinstance(value, Mapping) if plain is Mapping else type(value) is plain


def _has_sense(kind: type, name: str, value: Any) -> bool:
    if (kind, name) in _CHOICES:
        return value in set(_CHOICES[kind, name])
    return name not in _TIMES or _tells(datetime.fromisoformat, value)


def _tells(read: Callable[[str], datetime], text: str) -> bool:
    try:
        return read(text).utcoffset() == timedelta(0)
    except ValueError:
        return False

"""The database's tables, made from the fields of a trial record, and the way of a record into a row and back.

Pure: no connection is opened here. May know `core` and SQLAlchemy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord, record_columns
from harness.core.telemetry import Cut, HostStep, Notice, Phase, SampleGap
from harness.core.units import INT64_MAX, INT64_MIN
from harness.store.errors import StoreError

SCHEMA_VERSION = 5
"""Raised with every change of `TrialRecord`'s fields or of the tables below."""

TRIAL_ID = re.compile(r"[0-9A-Za-z-]{1,128}\Z")
"""It becomes the name of files."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for each NUL in a text, whatever the database: a record is the same in all of them."""


def plain_type(hint: Any) -> tuple[type, bool]:
    """The type of a field without `| None` and type arguments, and whether None is allowed."""
    arguments = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    inner = [argument for argument in arguments if argument is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"{hint}: a record's column has one type, or one type and None")
    return get_origin(inner[0]) or inner[0], len(arguments) != len(inner)


# Sorted by code point on every server, as SQLite does it: ids and times are compared as text.
_TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")

_COLUMN_TYPES: dict[type, TypeEngine[Any]] = {
    str: _TEXT,
    bool: Boolean(),
    int: BigInteger(),
    float: Double(),
    dict: JSON(none_as_null=True),
    tuple: JSON(none_as_null=True),
}

SPANS: dict[str, type] = {
    "phases": Phase,
    "host_steps": HostStep,
    "cuts": Cut,
    "notices": Notice,
    "sample_gaps": SampleGap,
}
"""Columns that hold several values of one kind, beside `evidence`."""

ITEMS: dict[str, type] = {"evidence": Evidence, **SPANS}
"""All columns that hold several values of one kind."""
ITEM_TYPES: dict[str, dict[str, tuple[type, bool]]] = {
    name: {key: plain_type(hint) for key, hint in get_type_hints(kind).items()} for name, kind in ITEMS.items()
}
"""Column → key of an item → (plain Python type, may be None)."""

RECORD_TYPES: dict[str, tuple[type, bool]] = {
    name: plain_type(hint)
    for name, hint in get_type_hints(TrialRecord).items()
    if name in {field.name for field in record_columns()}
}
"""Column → (plain Python type, may be None), in the order of the record."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    *(
        Column(name, _COLUMN_TYPES[plain], primary_key=name == "trial_id", nullable=optional)
        for name, (plain, optional) in RECORD_TYPES.items()
    ),
)
Index("trials_of_case", trials.c.case, trials.c.trial_id)

claims = Table(
    "claims",
    metadata,
    Column("trial_id", _TEXT, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("place", _TEXT, nullable=False),
)
"""Which owner (see `owner.py`) runs a trial, and the id of the folder where its files grow: only who has that folder
can salvage them. The row goes when the trial is done."""

triage = Table(
    "triage",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series", _TEXT, nullable=False),
    Column("first_bad", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    Column("reason", _TEXT, nullable=False),
    Column("author", _TEXT, nullable=False),
    Column("at", _TEXT, nullable=False),
)
"""What a person has said of a verdict: of a series (its text) and the first night of the change. The newest counts."""

confirmations = Table(
    "confirmations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series", _TEXT, nullable=False),
    Column("first_bad", _TEXT, nullable=False),
    Column("result", _TEXT, nullable=False),
    Column("reason", _TEXT, nullable=False),
    Column("run_id", _TEXT, nullable=True),
    Column("at", _TEXT, nullable=False),
)
"""What an interleaved re-run of the last good build against the first bad one has said; `run_id` is the re-run's."""

farm_runs = Table(
    "farm_runs",
    metadata,
    Column("run_id", _TEXT, primary_key=True),
    Column("suite", _TEXT, nullable=False),
    Column("suite_digest", _TEXT, nullable=False),
    Column("suite_text", _TEXT, nullable=False),
    Column("base", _TEXT, nullable=False),
    Column("target", _TEXT, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("options", JSON(none_as_null=True), nullable=False),
    Column("submitted_by", _TEXT, nullable=False),
    Column("submitted_at", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    Column("ended_at", _TEXT, nullable=True),
    Column("planned_s", Double, nullable=True),
)
"""Suites that a farm's hub was given, a row a target; written by the hub alone, like the two tables below."""

farm_trials = Table(
    "farm_trials",
    metadata,
    Column("run_id", _TEXT, primary_key=True),
    Column("case", _TEXT, primary_key=True),
    Column("ordinal", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("state", _TEXT, nullable=False),
    Column("phone", _TEXT, nullable=True),
    Column("host", _TEXT, nullable=True),
    Column("trial_id", _TEXT, nullable=True),
    Column("reason", _TEXT, nullable=False),
    Column("changed_at", _TEXT, nullable=False),
    Column("given_up_by", _TEXT, nullable=True),
)
"""How each trial of those runs stands. Its attempt is the fence: only that one's record becomes the trial's result."""

farm_phones = Table(
    "farm_phones",
    metadata,
    Column("phone", _TEXT, primary_key=True),
    Column("drained", _TEXT, nullable=True),
    Column("out", _TEXT, nullable=True),
    Column("reserved_until", _TEXT, nullable=True),
    Column("reserved_by", _TEXT, nullable=False),
    Column("reason", _TEXT, nullable=False),
)
"""What has been said of phones, and has to outlive the hub's process."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("trial_id", _TEXT, primary_key=True),
    Column("delivered_at", _TEXT, nullable=False),
    Column("kept", _TEXT, nullable=False),
)
"""Of a host's own results: trials that the hub of its farm has."""


def record_to_row(record: TrialRecord) -> dict[str, Any]:
    """The values of a row; raises StoreError for a number that the database would change silently."""
    row: dict[str, Any] = {}
    for name, (plain, _) in RECORD_TYPES.items():
        value = getattr(record, name)
        # SQLite keeps NaN as NULL, which would make `not measured` of `not a number`
        if isinstance(value, float) and not math.isfinite(value):
            raise StoreError(f"trial {record.trial_id}: {name} is {value}; give a number, or None if not measured")
        if isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
            raise StoreError(f"trial {record.trial_id}: {name} is {value}, which does not fit into 64 bits")
        if plain is tuple:
            # flat dataclasses: asdict would copy them to the bottom, ten times slower
            value = [dict(vars(item)) for item in value]
        elif plain is str and value is not None:
            # PostgreSQL takes no NUL in a text
            value = str(value).replace("\0", REPLACEMENT)
        row[name] = value
    return row


def row_to_record(row: Mapping[str, Any]) -> TrialRecord:
    """The record of a row; raises StoreError if a value or the row's JSON is not what this version writes."""
    values = {name: row[name] for name in RECORD_TYPES}
    _check_types(values)
    try:
        values["evidence"] = tuple(
            Evidence(EvidenceKind(item["kind"]), item["text"], item["file"], item["decisive"])
            for item in values["evidence"]
        )
        for name, kind in SPANS.items():
            values[name] = tuple(kind(**item) for item in values[name])
        for name, types in ITEM_TYPES.items():
            for item in values[name]:
                _check_item(item, types)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"trial {row['trial_id']}: its evidence, phases or steps cannot be read ({error}); "
            "the row was written by another program or damaged"
        ) from error
    return TrialRecord(**values)


def _check_item(item: object, types: Mapping[str, tuple[type, bool]]) -> None:
    """JSON keeps any value anywhere. Raises ValueError."""
    for key, (plain, optional) in types.items():
        value = getattr(item, key)
        if value is None and optional:
            continue
        if type(value) is not plain or (type(value) is int and not INT64_MIN <= value <= INT64_MAX):
            raise ValueError(f"{key} is {repr(value)[:80]}")


def _check_types(values: Mapping[str, Any]) -> None:
    """SQLite keeps any value in any column, and both databases keep infinity."""
    for name, (plain, optional) in RECORD_TYPES.items():
        value = values[name]
        if value is None and optional:
            continue
        if type(value) is not (list if plain is tuple else plain) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise StoreError(
                f"trial {str(values['trial_id'])[:80]}: {name} is {repr(value)[:80]}, which no harness writes there; "
                "the row was written by another program or damaged"
            )

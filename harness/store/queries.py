"""Which trials are meant, and their rows as a frame. Knows the tables; opens no connection of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Select, String, any_, bindparam, func, or_, select
from sqlalchemy.types import TypeEngine

from harness.store.errors import StoreError
from harness.store.schema import RECORD_TYPES, trials

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SINCE = "since"
UNTIL = "until"
ROWS_AT_ONCE = 5_000
MAX_PARAMETERS = 5_000
"""Of values in one list: a longer one goes as one parameter, for SQLite takes 32,766 of them and PostgreSQL 65,535."""


def select_trials(names: Sequence[str], filters: dict[str, Any], dialect: str) -> Select[Any]:
    """Rows whose columns equal the given values (any of them, for a list; null, for None), in order of their ids.

    `since` and `until` are no columns but bounds of `started_at`: a date, or a time with its zone; from the first on
    and before the second. Raises StoreError for a column that there is not.
    """
    query = select(*(_column(name) for name in names)).order_by(trials.c.trial_id)
    for name, value in filters.items():
        query = query.where(_condition(name, value, dialect))
    return query


def _column(name: str) -> Any:
    if name not in trials.c:
        raise StoreError(f"there is no column {name!r}; results/README.md lists the columns")
    return trials.c[name]


def _condition(name: str, value: Any, dialect: str) -> ColumnElement[bool]:
    if name == SINCE:
        return trials.c.started_at >= _moment(name, value)
    if name == UNTIL:
        return trials.c.started_at < _moment(name, value)
    column = _column(name)
    if not isinstance(value, list | tuple | set | frozenset):
        condition: ColumnElement[bool] = column == value
    elif None in value:
        # within a list SQL's null equals nothing
        rest = [one for one in value if one is not None]
        condition = or_(column.is_(None), _condition(name, rest, dialect))
    elif len(value) <= MAX_PARAMETERS:
        condition = column.in_(value)
    elif dialect == "sqlite":
        condition = column.in_(select(func.json_each(_json(value)).table_valued("value").c.value))
    else:
        kind: TypeEngine[Any] = String() if RECORD_TYPES[name][0] is str else column.type
        condition = column == any_(bindparam(None, list(value), ARRAY(kind)))
    return condition


def _json(values: Iterable[Any]) -> str:
    import json

    return json.dumps(list(values))


def _moment(name: str, value: Any) -> str:
    """As `started_at` is written, so that text compares as time does."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise StoreError(f"{name}={value!r}: give the time with its zone, as datetime(…, tzinfo=UTC)")
        try:
            return value.astimezone(UTC).replace(tzinfo=None).isoformat()
        except OverflowError:
            raise StoreError(f"{name}={value.isoformat()}: no time that the calendar has in UTC") from None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise StoreError(
                f"{name}={value!r} is no date and no time; write 2026-11-22 or 2026-11-22T03:00Z"
            ) from None
        # a plain date is a day in UTC, like a date
        return _moment(name, parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))
    raise StoreError(f"{name}={value!r} is no date and no time")


@contextmanager
def _no_collections() -> Iterator[None]:
    """Rows hold no cycles, yet a hundred thousand of them make the collector look at everything, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_frame(connection: Connection, names: Sequence[str], filters: dict[str, Any]) -> pd.DataFrame:
    """One row a trial, the columns in the given order, in types that keep missing values missing.

    Integers are Int64, numbers Float64, yes or no boolean, text string, each `pandas.NA` where there is null;
    `evidence` and its like stay Python values.
    """
    import pandas as pd  # here: 1.5 s that a running trial does not need
    import pyarrow as pa

    names = list(dict.fromkeys(names))
    kinds: dict[type, tuple[Any, Any]] = {
        bool: (pd.BooleanDtype(), pa.bool_()),
        int: (pd.Int64Dtype(), pa.int64()),
        float: (pd.Float64Dtype(), pa.float64()),
        str: (pd.StringDtype(), pa.large_string()),
    }
    chunks: dict[str, list[Any]] = {name: [] for name in names}
    objects: dict[str, list[Any]] = {name: [] for name in names}
    result = connection.execute(select_trials(names, filters, connection.dialect.name))
    with _no_collections():
        for rows in result.partitions(ROWS_AT_ONCE):
            for name, values in zip(names, zip(*rows, strict=True), strict=True):
                plain = RECORD_TYPES[name][0]
                if plain in kinds:
                    chunks[name].append(_array(name, values, kinds[plain][1]))
                else:
                    objects[name].extend(_objects(name, values, list if plain is tuple else plain))
    series = {}
    for name in names:
        plain = RECORD_TYPES[name][0]
        if plain in kinds:
            dtype, arrow = kinds[plain]
            series[name] = pd.Series(dtype.__from_arrow__(pa.chunked_array(chunks[name], arrow)))
        else:
            series[name] = pd.Series(objects[name], dtype=object)
    return pd.DataFrame(series)


def _array(name: str, values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    """The values as Arrow; raises StoreError for others than the column's: SQLite keeps any value in any column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        # told which, Arrow makes integers of fractions without a word
        array = pa.array(values) if pa.types.is_integer(kind) else pa.array(values, kind)
    except pa.ArrowException as error:
        raise _damaged(name, str(error)) from error
    if pa.types.is_null(array.type):
        array = array.cast(kind)
    if array.type != kind:
        raise _damaged(name, f"{array.type} where {kind} belongs")
    if pa.types.is_floating(kind) and not pc.all(pc.is_finite(array), min_count=0).as_py():
        raise _damaged(name, "a number is infinite or none")
    return array


def _objects(name: str, values: Sequence[Any], plain: type) -> Sequence[Any]:
    for value in values:
        if value is not None and type(value) is not plain:
            raise _damaged(name, f"{repr(value)[:80]} is no {plain.__name__}")
    return values


def _damaged(name: str, what: str) -> StoreError:
    return StoreError(
        f"trials: column {name}: {what[:200]}; a row was written by another program or damaged, `harness results show` "
        "names it"
    )

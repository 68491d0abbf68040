"""Columns that come with a revision, and what they hold in rows that are older."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Text, column, inspect, table
from sqlalchemy.types import TypeEngine

TRIALS = "trials"
# Sorted by code point on every server, as SQLite does it: ids and times are compared as text.
TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
INTEGER: TypeEngine[int] = BigInteger()
NUMBER: TypeEngine[float] = Double()
YES_OR_NO: TypeEngine[bool] = Boolean()
OBJECT: TypeEngine[Any] = JSON(none_as_null=True)


@dataclass(frozen=True)
class New:
    """A column; `fill` is what it holds in older rows, and None: null, which means *not known*."""

    name: str
    type: TypeEngine[Any]
    fill: Any = None


def texts(*names: str) -> list[New]:
    return [New(name, TEXT) for name in names]


def integers(*names: str) -> list[New]:
    return [New(name, INTEGER) for name in names]


def bring(columns: Sequence[New], to_table: str = TRIALS) -> set[str]:
    """Adds the columns that are not there yet; with a `fill` they are never null. Returns which were added.

    Some may be there: a version's columns came with several commits, and whoever ran the harness between them has a
    database with the first of them.
    """
    there = {found["name"] for found in inspect(op.get_bind()).get_columns(to_table)}
    missing = [new for new in columns if new.name not in there]
    for new in missing:
        op.add_column(to_table, Column(new.name, new.type, nullable=True))
    filled = [new for new in missing if new.fill is not None]
    if filled:
        rows = table(to_table, *(column(new.name, new.type) for new in filled))
        op.execute(rows.update().values({new.name: new.fill for new in filled}))
        # SQLite cannot say NOT NULL of a column that is there: the table is copied, once for all of them
        with op.batch_alter_table(to_table) as batch:
            for new in filled:
                batch.alter_column(new.name, existing_type=new.type, nullable=False)
    return {new.name for new in missing}

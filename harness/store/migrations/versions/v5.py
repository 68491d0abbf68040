"""Version 5: a farm's runs, trials and phones, and what a host has delivered to it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from harness.store.migrations.columns import INTEGER, NUMBER, OBJECT, TEXT

revision = "5"
down_revision = "4"


def upgrade() -> None:
    op.create_table(
        "farm_runs",
        Column("run_id", TEXT, primary_key=True),
        *(Column(name, TEXT, nullable=False) for name in ("suite", "suite_digest", "suite_text", "base", "target")),
        *(Column(name, INTEGER, nullable=False) for name in ("priority", "attempts")),
        Column("options", OBJECT, nullable=False),
        *(Column(name, TEXT, nullable=False) for name in ("submitted_by", "submitted_at", "state")),
        Column("ended_at", TEXT),
        Column("planned_s", NUMBER),
    )
    op.create_table(
        "farm_trials",
        *(Column(name, TEXT, primary_key=True) for name in ("run_id", "case")),
        Column("ordinal", INTEGER, primary_key=True, autoincrement=False),
        *(Column(name, INTEGER, nullable=False) for name in ("number", "attempt")),
        Column("state", TEXT, nullable=False),
        *(Column(name, TEXT) for name in ("phone", "host", "trial_id")),
        *(Column(name, TEXT, nullable=False) for name in ("reason", "changed_at")),
        Column("given_up_by", TEXT),
    )
    op.create_table(
        "farm_phones",
        Column("phone", TEXT, primary_key=True),
        *(Column(name, TEXT) for name in ("drained", "out", "reserved_until")),
        *(Column(name, TEXT, nullable=False) for name in ("reserved_by", "reason")),
    )
    op.create_table(
        "deliveries",
        Column("trial_id", TEXT, primary_key=True),
        *(Column(name, TEXT, nullable=False) for name in ("delivered_at", "kept")),
    )

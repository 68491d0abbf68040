"""Version 4: builds, hosts and arms; removed files; triage and confirmations; where a running trial's files grow."""

from __future__ import annotations

from alembic import context, op
from sqlalchemy import Column, Integer

from harness.store.migrations import PLACE
from harness.store.migrations.columns import TEXT, New, bring, integers, texts
from harness.store.migrations.late import bring_late

revision = "4"
down_revision = "3"


def _table_of_words(name: str, *never_null: str, optional: tuple[str, ...] = ()) -> None:
    op.create_table(
        name,
        Column("id", Integer, primary_key=True),
        *(Column(word, TEXT, nullable=False) for word in never_null),
        *(Column(word, TEXT) for word in optional),
    )


def upgrade() -> None:
    bring_late()
    # null in older rows: nobody has noted them
    bring(
        [
            *texts("host_name", "build", "arm", "origin", "files_removed_at", "app_commit"),
            *integers("app_ballast_bytes"),
        ]
    )
    # until now the files of a running trial were always in the folder of the database
    bring([New("place", TEXT, context.config.attributes[PLACE])], "claims")
    _table_of_words("triage", "series", "first_bad", "state", "reason", "author", "at")
    _table_of_words("confirmations", "series", "first_bad", "result", "reason", "at", optional=("run_id",))

"""What Alembic runs for each of its commands: the revisions, on the connection and in the transaction of the caller."""

from __future__ import annotations

from alembic import context

from harness.store.migrations import CONNECTION

context.configure(connection=context.config.attributes[CONNECTION], render_as_batch=True)
context.run_migrations()

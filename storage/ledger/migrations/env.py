"""Run by Alembic: migrate on the connection, and in the transaction, that `storage.ledger.migrating` brings."""

from __future__ import annotations

from alembic import context

from storage.ledger import oversight_tables  # noqa: F401  (its tables belong to the same metadata)
from storage.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()

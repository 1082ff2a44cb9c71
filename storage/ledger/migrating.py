"""Schema migrations with Alembic; the revisions lie in `migrations/versions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from storage.ledger.engine import Ledger


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "storage.ledger:migrations")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(ledger: Ledger) -> None:
    """All missing revisions in one transaction, by one process at a time."""
    config = _config()
    head = ScriptDirectory.from_config(config).get_current_head()
    with ledger.lock("migrate"), ledger.begin() as connection:
        if MigrationContext.configure(connection).get_current_revision() != head:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

"""Ledgers for tests: one body over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from storage.ledger.engine import Ledger
from storage.ledger.sealed import opened
from storage.ledger.tables import delivery
from storage.sealing import MasterKeys

#: Under which the words in these ledgers are sealed, as in every installation.
KEYS = MasterKeys(b"a secret of thirty-two bytes....")


def delivery_bodies(conn: Connection) -> list[str]:
    """What all webhooks say that were ever owed, in their order, as their receivers read it."""
    rows = conn.execute(select(delivery).order_by(delivery.c.id))
    return [row.body for row in opened(conn, "delivery", rows)]


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A migrated ledger of each kind."""
    with Ledger.open(ledger_url, keys=KEYS) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A migrated SQLite ledger, where the dialect does not matter."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", keys=KEYS) as opened:
        opened.migrate()
        yield opened

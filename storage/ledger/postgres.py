"""The ledger in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine, text

from storage.ledger.changes import CHANNEL, Changes, NotifiedChanges
from storage.ledger.leader import AdvisoryHold, LeaderLock

_WAKE = text(f"SELECT pg_notify('{CHANNEL}', '')")


class PostgresLedger:
    dialect = "postgresql"

    def __init__(self, url: URL, pool_size: int) -> None:
        self._engine = create_engine(url, pool_size=pool_size, max_overflow=pool_size, hide_parameters=True)
        self.changes: Changes = NotifiedChanges(self._listening)

    @contextmanager
    def begin(self, *, wake: bool) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection
            if wake:
                # Sent by the server when the transaction commits, and only then.
                connection.execute(_WAKE)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def lock(self, name: str) -> LeaderLock:
        return LeaderLock(name, AdvisoryHold(self._engine, name))

    def close(self) -> None:
        self.changes.close()
        self._engine.dispose()

    def _listening(self) -> Any:
        import psycopg  # the driver is an extra: an embedded installation has none

        arguments, options = self._engine.dialect.create_connect_args(self._engine.url)
        return psycopg.connect(*arguments, **options, autocommit=True)

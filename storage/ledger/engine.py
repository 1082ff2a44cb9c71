"""The ledger: transactions, changes, leader locks and migrations over SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, cast

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from schemas.errors import BadSettings
from storage.ledger.changes import Changes
from storage.ledger.faults import translated
from storage.ledger.leader import LeaderLock
from storage.ledger.postgres import PostgresLedger
from storage.ledger.sqlite import SqliteLedger
from storage.ledger.tenant_keys import KEYRING, KeyCache, Keyring
from storage.sealing import MasterKeys

Dialect = Literal["sqlite", "postgresql"]


class _Backend(Protocol):
    changes: Changes

    def begin(self, *, wake: bool) -> AbstractContextManager[Connection]: ...

    def read(self) -> AbstractContextManager[Connection]: ...

    def lock(self, name: str) -> LeaderLock: ...

    def close(self) -> None: ...


class Ledger:
    """Everything that outlives a process, in one database; safe to share between threads, not across a fork."""

    def __init__(self, backend: _Backend, dialect: Dialect, keys: MasterKeys | None = None) -> None:
        self._backend, self.dialect, self.keys = backend, dialect, keys
        self._cache = KeyCache()

    @classmethod
    def open(
        cls, url: str, *, keys: MasterKeys | None = None, busy_seconds: float = 10.0, pool_size: int = 16
    ) -> Ledger:
        """A ledger at ``sqlite:///PATH`` or ``postgresql+psycopg://...``; makes the file, but no table (see `migrate`).

        With `keys`, customers' words are sealed in it; without, they are stored plain, and sealed ones cannot be read.
        `busy_seconds` bounds the wait for another writer on SQLite, after which `LedgerBusy` is raised.
        """
        place = _checked(url)
        if place.get_backend_name() == "sqlite":
            path = Path(cast(str, place.database)).absolute()
            return cls(SqliteLedger(path, busy_seconds, pool_size), "sqlite", keys)
        return cls(PostgresLedger(place, pool_size), "postgresql", keys)

    @contextmanager
    def begin(self, *, wake: bool = True) -> Iterator[Connection]:
        """A write transaction: committed on leaving, rolled back by any exception.

        `wake=False` spares the other processes a look when nothing they wait for has changed. Raises `LedgerBusy`,
        `StoreFull` and `StoreDenied`.
        """
        with translated(), self._backend.begin(wake=wake) as connection:
            yield self._with_keys(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent view, no lock against writers."""
        with translated(), self._backend.read() as connection:
            yield self._with_keys(connection)

    def _with_keys(self, connection: Connection) -> Connection:
        if self.keys is None:
            return connection
        return connection.execution_options(**{KEYRING: Keyring(self.keys, self._cache)})

    def version(self) -> int:
        """A token for `wait_for_change`: take it before reading, so that no commit falls between."""
        with translated():
            return self._backend.changes.version()

    def wait_for_change(self, seconds: float, since: int | None = None) -> int:
        """Sleep until another connection has committed since the token `since` (default: now), at most `seconds`.

        Returns the token for the next call. May return early for nothing, so callers look and wait again.
        """
        with translated():
            changes = self._backend.changes
            return changes.wait(seconds, changes.version() if since is None else since)

    def lock(self, name: str) -> LeaderLock:
        """The leader lock of that name, not yet taken."""
        return self._backend.lock(name)

    def migrate(self) -> None:
        """Bring the tables to the newest revision; several processes may call it at once."""
        from storage.ledger.migrating import upgrade  # Alembic takes a third of a second to import

        upgrade(self)

    def close(self) -> None:
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(url: str) -> URL:
    try:
        place = make_url(url)
    except ArgumentError as error:
        raise BadSettings(
            "the ledger needs sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME", field="ledger"
        ) from error
    if place.get_backend_name() == "sqlite" and place.database not in (None, "", ":memory:"):
        return place
    if place.drivername in ("postgresql", "postgresql+psycopg"):
        return place.set(drivername="postgresql+psycopg")
    raise BadSettings(
        "the ledger needs sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME", field="ledger"
    )

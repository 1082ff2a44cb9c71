"""The ledger in one SQLite file: WAL, every commit synced, writers that wait politely."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

from storage.ledger.changes import Changes, PolledChanges
from storage.ledger.faults import sqlite_fault, translated
from storage.ledger.leader import FileHold, LeaderLock

#: Longest wait while opening and reading: only recovery after a crash, and the last one to close, can be in the way.
_PATIENCE_SECONDS = 10.0


class SqliteLedger:
    dialect = "sqlite"

    def __init__(self, path: Path, busy_seconds: float, pool_size: int) -> None:
        self.path, self._busy_seconds = path, busy_seconds
        with translated(), _connected(path) as connection:
            _switch_to_wal(connection)
        self._writers = self._engine(pool_size, "PRAGMA busy_timeout = 0")
        self._readers = self._engine(pool_size, "PRAGMA query_only = ON")
        self.changes: Changes = PolledChanges(lambda: _connect(path))

    @contextmanager
    def begin(self, *, wake: bool) -> Iterator[Connection]:
        del wake  # whoever polls data_version sees every commit
        with self._writers.connect() as connection, connection.begin():
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            self._take_the_pen(raw)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._readers.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN")
            yield connection

    def lock(self, name: str) -> LeaderLock:
        return LeaderLock(name, FileHold(self.path.with_name(f"{self.path.name}.{name}.lock")))

    def close(self) -> None:
        self.changes.close()
        self._writers.dispose()
        self._readers.dispose()

    def _take_the_pen(self, raw: sqlite3.Connection) -> None:
        # SQLite's own busy handler backs off to 100 ms and lets a busy writer starve the others for a second; short
        # jittered retries kept the longest wait beside a bulk insert at 25 ms.
        end = time.monotonic() + self._busy_seconds
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() >= end:
                    raise sqlite_fault(error) or error from error
            time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311  (jitter)

    def _engine(self, pool_size: int, *pragmas: str) -> Engine:
        def creator() -> sqlite3.Connection:
            return _connect(self.path, *pragmas)

        return create_engine(
            "sqlite://",
            creator=creator,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=pool_size,
            hide_parameters=True,  # an error's text would quote customers
        )


def _connect(path: Path, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    # FULL: an acknowledged event must survive a power cut. 16 MiB of pages per connection; a checkpoint every 16 MiB.
    for pragma in (
        "PRAGMA synchronous = FULL",
        "PRAGMA cache_size = -16384",
        "PRAGMA wal_autocheckpoint = 4000",
        *pragmas,
    ):
        connection.execute(pragma)
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for a lock here, whatever its timeout: processes that make the file together collide.
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
        time.sleep(random.uniform(0.001, 0.01))  # noqa: S311  (jitter)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = _connect(path)
    try:
        yield connection
    finally:
        connection.close()

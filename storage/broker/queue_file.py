"""Durable queues in one SQLite file, shared by any number of processes and threads.

A message that was claimed is leased: its holder renews the lease, settles it or gives it back; when the holder dies the
lease runs out and the message is claimed again. Every claim has its own number, so that a holder that lost its lease
can no longer touch the message.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from schemas.errors import BadSettings, QueueMissing, QueueUnavailable

Result = TypeVar("Result")

SCHEMA_VERSION = 1
SCHEMA = (
    """create table queue(
        name text primary key, expires_seconds real, expires_at real not null
    ) without rowid""",
    # autoincrement: an id that was used is never given out again, so an old claim cannot match a new message.
    """create table message(
        id integer primary key autoincrement, queue text not null, payload text not null,
        visible_at real not null default 0, deliveries integer not null default 0
    )""",
    "create index message_order on message(queue, id)",
)
DECLARE = (
    "insert into queue(name, expires_seconds, expires_at) values (?, ?, ?)"
    " on conflict(name) do update set expires_at = excluded.expires_at"
)
NEVER = 9e15  # seconds: a queue without expiry

#: A waiting writer looks again after about this long: SQLite's own back-off sleeps up to 100 ms and is overtaken meanwhile.
RETRY_SECONDS = 0.0005


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One message held under a lease; `deliveries` counts its claims and is the fence against an older holder."""

    id: int
    deliveries: int
    payload: str

    @property
    def key(self) -> tuple[int, int]:
        return self.id, self.deliveries


class QueueFile:
    """Declares, fills and empties queues. Thread-safe; in a forked child it opens its own connection."""

    def __init__(
        self, path: Path, *, synchronous: Literal["normal", "full"] = "normal", busy_seconds: float = 30.0
    ) -> None:
        self.path, self._synchronous, self._busy_seconds = path, synchronous, busy_seconds
        self._pid = 0
        self._abandoned: list[sqlite3.Connection] = []
        self._open()

    def _open(self) -> None:
        self._lock = threading.RLock()
        self._changed_here = 0
        self._connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        self._pid = os.getpid()
        self._patiently(self._prepare)

    def _prepare(self) -> None:
        connection = self._connection
        if connection.execute("pragma journal_mode").fetchone()[0] != "wal":
            mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
            if mode != "wal":
                raise BadSettings(f"{self.path} lies on a file system that several processes cannot share")
        connection.execute(f"pragma synchronous = {self._synchronous}")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise BadSettings(f"{self.path} was made by a newer version of Aquatint")
        if version < SCHEMA_VERSION:
            self._create()

    def _create(self) -> None:
        with self._transaction():
            if self._connection.execute("pragma user_version").fetchone()[0] == SCHEMA_VERSION:
                return  # another process made it while this one waited for the lock
            for statement in SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"pragma user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    def _patiently(self, work: Callable[[], Result]) -> Result:
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() > deadline:
                    raise QueueUnavailable(
                        f"{self.path.name} stayed locked for {self._busy_seconds:g} s"
                    ) from error
            time.sleep(RETRY_SECONDS * (0.5 + random.random()))  # noqa: S311  # jitter

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._mine():
            return self._patiently(lambda: self._connection.execute(sql, parameters).fetchall())

    def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def once() -> Result:
            with self._transaction():
                return work(self._connection)

        with self._mine():
            result = self._patiently(once)
            self._changed_here += 1  # data_version tells only of other connections
            return result

    @contextmanager
    def _mine(self) -> Iterator[None]:
        if self._pid != os.getpid():
            # Never closed: closing it here would drop the locks the parent still relies on.
            self._abandoned.append(self._connection)
            self._open()
        with self._lock:
            yield

    def version(self) -> tuple[int, int]:
        """Changes whenever anything was committed to the file; reading it takes no lock that a writer would notice."""
        return self._read("pragma data_version")[0][0], self._changed_here

    def declare(self, queue: str, expires_seconds: float | None = None) -> None:
        """Makes the queue unless it exists; with an expiry, it goes when nobody uses it for that long."""
        expires_at = time.time() + expires_seconds if expires_seconds else NEVER

        def work(connection: sqlite3.Connection) -> None:
            _expire(connection)
            connection.execute(DECLARE, (queue, expires_seconds, expires_at))

        self._write(work)

    def exists(self, queue: str) -> bool:
        return bool(self._read("select 1 from queue where name = ? and expires_at > ?", (queue, time.time())))

    def touch(self, expiries: Mapping[str, float]) -> None:
        """Says that these queues, given with their expiry in seconds, are in use, and removes those that nobody uses.

        A queue that expired while this machine slept is made again: its consumer still waits at it.
        """
        now = time.time()

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                DECLARE, [(name, seconds, now + seconds) for name, seconds in expiries.items()]
            )
            _expire(connection)

        self._write(work)

    def publish(self, messages: Sequence[tuple[str, str]]) -> None:
        """Appends (queue, payload) pairs in one transaction: all of them or none.

        Raises `QueueMissing` when one of the queues was never declared or has expired.
        """

        def work(connection: sqlite3.Connection) -> None:
            for queue in {queue for queue, _ in messages}:
                known = "select 1 from queue where name = ? and expires_at > ?"
                if connection.execute(known, (queue, time.time())).fetchone() is None:
                    raise QueueMissing(f"there is no queue {queue}")
            connection.executemany("insert into message(queue, payload) values (?, ?)", messages)

        self._write(work)

    def claim(self, queue: str, limit: int, lease_seconds: float) -> list[Claim]:
        """Takes up to `limit` messages, oldest first, in one transaction; takes no write lock when there are none."""
        now = time.time()
        if not self._read("select 1 from message where queue = ? and visible_at <= ? limit 1", (queue, now)):
            return []
        rows = self._write(
            lambda connection: connection.execute(
                "update message set visible_at = ?, deliveries = deliveries + 1 where id in"
                " (select id from message where queue = ? and visible_at <= ? order by id limit ?)"
                " returning id, deliveries, payload",
                (now + lease_seconds, queue, now, limit),
            ).fetchall()
        )
        # RETURNING promises no order.
        return [Claim(id=row[0], deliveries=row[1], payload=row[2]) for row in sorted(rows)]

    def settle(self, claims: Sequence[tuple[int, int]]) -> None:
        """Deletes messages whose work is done; those whose claim was lost stay."""
        self._many("delete from message where id = ? and deliveries = ?", claims)

    def give_back(self, claims: Sequence[tuple[int, int]]) -> None:
        """Makes claimed messages visible again, in their old places."""
        self._many("update message set visible_at = 0 where id = ? and deliveries = ?", claims)

    def renew(self, claims: Sequence[tuple[int, int]], lease_seconds: float) -> None:
        until = time.time() + lease_seconds
        self._many(
            "update message set visible_at = ? where id = ? and deliveries = ?",
            [(until, *key) for key in claims],
        )

    def _many(self, sql: str, rows: Sequence[tuple[float, ...]]) -> None:
        if rows:
            self._write(lambda connection: connection.executemany(sql, rows))

    def size(self, queue: str) -> int:
        """Messages in the queue, claimed ones included."""
        return int(self._read("select count(*) from message where queue = ?", (queue,))[0][0])

    def purge(self, queue: str) -> int:
        """Deletes the messages nobody holds; returns how many."""
        sql = "delete from message where queue = ? and visible_at <= ?"
        return self._write(lambda connection: connection.execute(sql, (queue, time.time())).rowcount)

    def drop(self, queue: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("delete from message where queue = ?", (queue,))
            connection.execute("delete from queue where name = ?", (queue,))

        self._write(work)

    def close(self) -> None:
        if self._pid == os.getpid():
            with self._lock:
                self._connection.close()


def _expire(connection: sqlite3.Connection) -> None:
    for (name,) in connection.execute(
        "select name from queue where expires_at <= ?", (time.time(),)
    ).fetchall():
        connection.execute("delete from message where queue = ?", (name,))
        connection.execute("delete from queue where name = ?", (name,))

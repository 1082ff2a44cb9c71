"""Noticing that somebody committed, so that a loop can sleep until there is something to do."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

#: Notified by every writing transaction that wakes others.
CHANNEL = "aquatint_ledger"
_POLL_SECONDS = 0.005


class Changes(Protocol):
    """A number that differs after another connection has committed."""

    def version(self) -> int: ...

    def wait(self, seconds: float, since: int) -> int:
        """The first version that differs from `since`, or `since` when the time is up."""
        ...

    def close(self) -> None: ...


class PolledChanges:
    """SQLite: `PRAGMA data_version` costs microseconds, and tells of commits by every process."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect, self._lock = connect, threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._value, self._read_at = 0, 0.0

    def version(self) -> int:
        with self._lock:
            # Threads of one process share a reading; an older value only wakes its caller once too often.
            if self._connection is None:
                self._connection = self._connect()
            if time.monotonic() - self._read_at >= _POLL_SECONDS / 2:
                self._value = self._connection.execute("PRAGMA data_version").fetchone()[0]
                self._read_at = time.monotonic()
            return self._value

    def wait(self, seconds: float, since: int) -> int:
        end = time.monotonic() + seconds
        while (value := self.version()) == since:
            left = end - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(_POLL_SECONDS, left))
        return value

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class NotifiedChanges:
    """PostgreSQL: one listening connection and thread, started by the first waiter.

    A notification can be lost with the connection, so the version also moves when the connection is made anew; loops
    keep a backstop of about a second all the same, because some poolers pass no notification on.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect, self._changed = connect, threading.Condition()
        self._count, self._closed = 0, False
        self._thread: threading.Thread | None = None

    def version(self) -> int:
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._listen, name="ledger-listen", daemon=True)
                self._thread.start()
            return self._count

    def wait(self, seconds: float, since: int) -> int:
        self.version()
        with self._changed:
            self._changed.wait_for(lambda: self._count != since or self._closed, seconds)
            return self._count

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(5)

    def _listen(self) -> None:
        while not self._closed:
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._count_up()
                    while not self._closed:
                        if any(True for _ in connection.notifies(timeout=0.5, stop_after=1)):
                            self._count_up()
            except Exception:  # whatever it was, waiters have their backstop until we reconnect
                time.sleep(0.5)

    def _count_up(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

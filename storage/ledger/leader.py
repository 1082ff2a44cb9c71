"""Leader locks: one holder at a time, let go by the operating system or the server when its process dies."""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.errors import LedgerBusy
from storage.ledger.faults import translated

_RETRY_SECONDS = 0.05


class _Hold(Protocol):
    def take(self) -> bool: ...

    def kept(self) -> bool: ...

    def drop(self) -> None: ...


class LeaderLock:
    """Held by at most one owner at a time; as a context manager it waits until it is taken."""

    def __init__(self, name: str, hold: _Hold) -> None:
        self.name, self._hold = name, hold

    def acquire(self, timeout_seconds: float = 0.0) -> bool:
        """Try at once, then until the time is up; True when it is ours."""
        return _until(self._hold.take, timeout_seconds)

    def held(self) -> bool:
        """Whether it is still ours: a lost database connection loses it."""
        return self._hold.kept()

    def release(self) -> None:
        self._hold.drop()

    def __enter__(self) -> Self:
        if not self.acquire(60.0):
            raise LedgerBusy(f"the lock {self.name!r} is held by another process")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _until(attempt: Callable[[], bool], timeout_seconds: float) -> bool:
    end = time.monotonic() + timeout_seconds
    while not attempt():
        if time.monotonic() >= end:
            return False
        time.sleep(_RETRY_SECONDS)
    return True


class FileHold:
    """`flock` on a file beside the ledger: belongs to the open file, so that two threads exclude each other too."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, -1

    def take(self) -> bool:
        if self._file >= 0:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def kept(self) -> bool:
        return self._file >= 0

    def drop(self) -> None:
        # The file stays: removing it would let a third process lock a new one while the second still holds the old.
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class AdvisoryHold:
    """A session advisory lock on a connection of its own."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._key = engine, zlib.crc32(name.encode())
        self._connection: Connection | None = None

    def take(self) -> bool:
        if self._connection is not None:
            return True
        with translated():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            # Detached: a pooled connection would keep the lock after its release.
            connection.detach()
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:space, :key)"), self._number()):
                connection.close()
                return False
        self._connection = connection
        return True

    def kept(self) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            self.drop()
        return self._connection is not None

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _number(self) -> dict[str, int]:
        #: "aqua" in ASCII keeps our locks apart from others in the same database; keys are signed 32-bit.
        return {"space": 0x61717561, "key": self._key - (1 << 31)}

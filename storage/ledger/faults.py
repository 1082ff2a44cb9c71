"""Database errors in our own words: who has to act, decided from the driver's code and never from its text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.errors import AquatintError, LedgerBusy, StoreDenied, StoreFull

#: Primary SQLite result codes (https://sqlite.org/rescode.html); an extended code keeps them in its low byte.
_SQLITE = {
    5: LedgerBusy("another process is writing to the ledger"),
    6: LedgerBusy("another process is writing to the ledger"),
    8: StoreDenied("the ledger may not be written: check the owner and mode of its folder"),
    10: StoreFull("the ledger cannot be written: check the disk and the space left on it"),
    13: StoreFull("there is no space left for the ledger"),
    14: StoreDenied("the ledger cannot be opened: check the owner and mode of its folder"),
    23: StoreDenied("the ledger may not be written: check the owner and mode of its folder"),
}
#: PostgreSQL SQLSTATE, whole codes before classes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_POSTGRES = {
    "53100": StoreFull("there is no space left for the ledger"),
    "53300": LedgerBusy("the ledger has no connection left"),
    "55P03": LedgerBusy("a row of the ledger is locked"),
    "25006": StoreDenied("the ledger is read-only: is this a standby?"),
    "42501": StoreDenied("the database role may not use the ledger's tables"),
    "28": StoreDenied("the database refuses the user or password of the ledger"),
    "3D": StoreDenied("the ledger's database does not exist"),
    "40": LedgerBusy("the transaction met another one: try again"),
    "57": LedgerBusy("the database is shutting down or starting"),
    "08": LedgerBusy("the connection to the ledger was lost"),
}


def sqlite_fault(error: sqlite3.Error) -> AquatintError | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _fresh(_SQLITE.get(code & 0xFF))


def _postgres_fault(error: BaseException | None, connection_lost: bool) -> AquatintError | None:
    state = getattr(error, "sqlstate", None)
    if state is None:  # no server answered at all
        lost = connection_lost or type(error).__name__ == "OperationalError"
        return LedgerBusy("the ledger's database cannot be reached") if lost else None
    return _fresh(_POSTGRES.get(state) or _POSTGRES.get(state[:2]))


def _fresh(known: AquatintError | None) -> AquatintError | None:
    """A new instance, since an exception object carries the traceback of one raise."""
    return type(known)(known.detail) if known is not None else None


@contextmanager
def translated() -> Iterator[None]:
    """Raise our typed error for what the caller or the operator can act on; anything else is a bug and stays as it is."""
    try:
        yield
    except PoolTimeout as timeout:
        raise LedgerBusy("every connection to the ledger is in use") from timeout
    except sqlite3.Error as error:
        raise sqlite_fault(error) or error from error
    except DBAPIError as error:
        known = (
            sqlite_fault(error.orig)
            if isinstance(error.orig, sqlite3.Error)
            else _postgres_fault(error.orig, error.connection_invalidated)
        )
        if known is None:
            raise
        raise known from error

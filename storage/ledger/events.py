"""Events that were accepted, so that a repeat is recognised."""

from __future__ import annotations

from sqlalchemy import Connection

from storage.ledger.sql import run, statement

_REMEMBER = statement(
    """INSERT INTO event (tenant, source, id, became, received_at) VALUES (:tenant, :source, :id, :became, :now)
       ON CONFLICT (tenant, source, id) DO NOTHING"""
)
_BECAME = statement("SELECT became FROM event WHERE tenant = :tenant AND source = :source AND id = :id")


def remember(conn: Connection, *, tenant: str, source: str, id: str, became: str, now: float) -> str | None:
    """None for a new event, which is now remembered; else the job or batch that the first one became.

    On PostgreSQL a repeat waits for the first one's transaction to end, so two can never both be new.
    """
    if run(conn, _REMEMBER, tenant=tenant, source=source, id=id, became=became, now=now).rowcount:
        return None
    return became_of(conn, tenant=tenant, source=source, id=id)


def became_of(conn: Connection, *, tenant: str, source: str, id: str) -> str | None:
    """The job or batch that an event became, or None."""
    found: str | None = run(conn, _BECAME, tenant=tenant, source=source, id=id).scalar()
    return found

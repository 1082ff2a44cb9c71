"""Legal holds: what they lie on is neither erased nor forgotten with time."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Table, delete, or_, select

from storage.ledger.sql import run, statement
from storage.ledger.tables import legal_hold

#: Columns by which a row belongs to what a hold may lie on.
_OWNERS = ("id", "job", "batch", "about")
_PLACE = statement(
    """INSERT INTO legal_hold (tenant, subject, placed_at) VALUES (:tenant, :subject, :now)
       ON CONFLICT (tenant, subject) DO NOTHING"""
)


def place(conn: Connection, *, tenant: str, subject: str, now: float) -> bool:
    """Hold a job or batch, or with an empty subject the whole tenant; False when it was held before."""
    return bool(run(conn, _PLACE, tenant=tenant, subject=subject, now=now).rowcount)


def lift(conn: Connection, *, tenant: str, subject: str) -> bool:
    """False when there was none."""
    mine = (legal_hold.c.tenant == tenant) & (legal_hold.c.subject == subject)
    return bool(conn.execute(delete(legal_hold).where(mine)).rowcount)


def of_tenant(conn: Connection, tenant: str) -> list[str]:
    """The subjects that are held, in their order; an empty one is the tenant itself."""
    query = select(legal_hold.c.subject).where(legal_hold.c.tenant == tenant)
    return list(conn.execute(query.order_by(legal_hold.c.subject)).scalars())


def not_held(table: Table) -> ColumnElement[bool]:
    """The condition under which a row of this table may lose its words."""
    owners = [table.c[name] for name in _OWNERS if name in table.c]
    subject = or_(legal_hold.c.subject == "", *(legal_hold.c.subject == owner for owner in owners))
    return ~select(legal_hold.c.tenant).where(legal_hold.c.tenant == table.c.tenant, subject).exists()

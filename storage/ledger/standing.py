"""Refusals by the minute, and which tenants are throttled or suspended for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, func, select

from schemas.ids import floor_id
from storage.ledger.oversight_tables import refusal, standing
from storage.ledger.sql import run, statement
from storage.ledger.tables import job

StandingState = Literal["good", "throttled", "suspended"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One tenant's; times are Unix seconds."""

    tenant: str
    state: StandingState
    reason: str
    #: "abuse", or the operator who said so.
    set_by: str
    since: float
    #: Refusals before this have been forgiven.
    counted_from: float


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was refused to a tenant in a window, and how much it asked for."""

    tenant: str
    refused: int
    asked: int

    @property
    def rate(self) -> float:
        """The share of what it asked for that was refused, 0 to 1."""
        return min(1.0, self.refused / self.asked) if self.asked else 0.0


_NOTE = statement(
    """INSERT INTO refusal (tenant, minute, refused, unplanned) VALUES (:tenant, :minute, :refused, :unplanned)
       ON CONFLICT (tenant, minute) DO UPDATE SET
         refused = refusal.refused + excluded.refused, unplanned = refusal.unplanned + excluded.unplanned"""
)


def note(conn: Connection, tenant: str, *, refused: int, now: float, unplanned: int = 0) -> None:
    """Count refusals; `unplanned` of them never became images, as a refused request does not."""
    run(conn, _NOTE, tenant=tenant, minute=int(now // 60), refused=refused, unplanned=unplanned)


def tallies(conn: Connection, *, since: float, at_least: int) -> list[Tally]:
    """The tenants to which at least so much was refused since then, whatever else they asked for included.

    A minute counts if it begins at or after `since`, or after the tenant was forgiven.
    """
    start = func.coalesce(standing.c.counted_from, 0.0)
    counted = (
        select(refusal.c.tenant, func.sum(refusal.c.refused), func.sum(refusal.c.unplanned), func.max(start))
        .join_from(refusal, standing, standing.c.tenant == refusal.c.tenant, isouter=True)
        .where(refusal.c.minute >= int(since // 60), refusal.c.minute * 60 >= start)
        .group_by(refusal.c.tenant)
        .having(func.sum(refusal.c.refused) >= at_least)
    )
    return [
        Tally(tenant=tenant, refused=refused, asked=unplanned + planned(conn, tenant, max(since, forgiven)))
        for tenant, refused, unplanned, forgiven in conn.execute(counted)
    ]


def planned(conn: Connection, tenant: str, since: float) -> int:
    """Images of the jobs that a tenant's requests have become since then: ids tell the time, so the index serves."""
    asked = select(func.coalesce(func.sum(job.c.total), 0))
    return int(
        conn.execute(asked.where(job.c.tenant == tenant, job.c.id >= floor_id("job", since))).scalar_one()
    )


def anything_to_judge(conn: Connection) -> bool:
    """Whether there are refusals, or standings that they may have brought about."""
    refused = conn.execute(select(refusal.c.tenant).limit(1)).first()
    return refused is not None or bool(troubled(conn))


def forget(conn: Connection, before: float) -> None:
    """Drop the refusals of minutes before that."""
    conn.execute(delete(refusal).where(refusal.c.minute < int(before // 60)))


def troubled(conn: Connection) -> dict[str, Standing]:
    """Every tenant that is throttled or suspended."""
    return {one.tenant: one for one in everyone(conn) if one.state != "good"}


def everyone(conn: Connection) -> list[Standing]:
    rows = conn.execute(select(standing).order_by(standing.c.tenant)).all()
    return [Standing(**row._mapping) for row in rows]


def get(conn: Connection, tenant: str) -> Standing | None:
    row = conn.execute(select(standing).where(standing.c.tenant == tenant)).first()
    return Standing(**row._mapping) if row is not None else None


_PUT = statement(
    """INSERT INTO standing (tenant, state, reason, set_by, since, counted_from)
       VALUES (:tenant, :state, :reason, :set_by, :since, :counted_from)
       ON CONFLICT (tenant) DO UPDATE SET state = excluded.state, reason = excluded.reason, set_by = excluded.set_by,
         since = excluded.since, counted_from = excluded.counted_from"""
)


def put(conn: Connection, new: Standing) -> None:
    """Replace what is known of a tenant."""
    run(conn, _PUT, **vars(new))


def states(conn: Connection) -> Mapping[str, int]:
    """How many tenants are in each state but good."""
    rows = conn.execute(select(standing.c.state, func.count()).group_by(standing.c.state)).all()
    return {state: count for state, count in rows if state != "good"}

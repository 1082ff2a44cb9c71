"""Fine-tunes: one row per accepted request, moved on by trainers' reports about the one run that counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, insert, literal_column, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from storage.ledger.sealed import opened, sealed
from storage.ledger.sql import AnyRow
from storage.ledger.tables import finetune

#: Spelled out and not bound, so that the partial index on open ones serves.
_OPEN = finetune.c.state.in_([literal_column(f"'{state}'") for state in ("queued", "released", "running")])
_HELD = finetune.c.state.in_([literal_column(f"'{state}'") for state in ("released", "running")])

#: Of a row that waits for its next release.
_QUEUED = {"state": "queued", "run": None, "trainer": None, "lease_until": None, "progress": None}


@dataclass(frozen=True, kw_only=True)
class NewFinetune:
    """One accepted request for a fine-tune."""

    id: str
    tenant: str
    name: str
    model: str
    base_digest: str
    #: JSON of a `schemas.finetune.FinetuneSpec`.
    spec: str
    created_at: float
    state: str = "queued"
    webhook_url: str | None = None
    metadata: str = "{}"
    traceparent: str | None = None


def add(conn: Connection, new: NewFinetune) -> None:
    conn.execute(insert(finetune), sealed(conn, "finetune", [vars(new)]))


def get(conn: Connection, *, tenant: str, id: str) -> AnyRow | None:
    return _one(conn, select(finetune).where(finetune.c.id == id, finetune.c.tenant == tenant))


def _one(conn: Connection, query: Select[Any] | ReturningUpdate[Any]) -> AnyRow | None:
    return next(iter(opened(conn, "finetune", conn.execute(query))), None)


def of_tenant(
    conn: Connection, tenant: str, *, before: str | None = None, limit: int = 100
) -> Sequence[AnyRow]:
    """A tenant's fine-tunes, newest first; `before` is the last id of the page before."""
    query = select(finetune).where(finetune.c.tenant == tenant).order_by(finetune.c.id.desc()).limit(limit)
    rows = conn.execute(query if before is None else query.where(finetune.c.id < before))
    return opened(conn, "finetune", rows)


def waiting(conn: Connection) -> Sequence[AnyRow]:
    """The oldest queued one of each tenant and model: (id, tenant, model, base_digest)."""
    owner = (finetune.c.tenant, finetune.c.model, finetune.c.base_digest)
    queued = select(func.min(finetune.c.id).label("id"), *owner).where(_OPEN, finetune.c.state == "queued")
    return conn.execute(queued.group_by(*owner)).all()


def last_released(conn: Connection, tenants: Iterable[str]) -> Mapping[str, float]:
    """When the latest release of each of these tenants was; those that never had one are left out."""
    latest = select(finetune.c.tenant, func.max(finetune.c.released_at))
    theirs = finetune.c.tenant.in_(sorted(set(tenants))) & finetune.c.released_at.is_not(None)
    return dict(conn.execute(latest.where(theirs).group_by(finetune.c.tenant)).all())


def held(conn: Connection) -> Sequence[AnyRow]:
    """Those in the hands of trainers."""
    return opened(conn, "finetune", conn.execute(select(finetune).where(_HELD).order_by(finetune.c.id)))


def in_run(conn: Connection, run: str) -> AnyRow | None:
    """The one whose run counts, if any."""
    return _one(conn, select(finetune).where(_HELD, finetune.c.run == run))


def release(
    conn: Connection, *, id: str, run: str, trainer: str, lease_until: float, now: float
) -> AnyRow | None:
    """Give a queued one to a trainer: its row as it is now, or None when it is not queued any more."""
    change = update(finetune).where(finetune.c.id == id, finetune.c.state == "queued")
    values = {
        "state": "released",
        "run": run,
        "trainer": trainer,
        "released_at": now,
        "lease_until": lease_until,
        "progress": None,
    }
    return _one(conn, change.values(values).returning(finetune))


def started(conn: Connection, *, id: str, run: str, lease_until: float, now: float) -> bool:
    """The run has begun; False for a stale one."""
    change = update(finetune).where(
        finetune.c.id == id, finetune.c.run == run, finetune.c.state == "released"
    )
    values = {
        "state": "running",
        "started_at": func.coalesce(finetune.c.started_at, now),
        "lease_until": lease_until,
    }
    return bool(conn.execute(change.values(values)).rowcount)


def alive(conn: Connection, *, run: str, progress: str | None, lease_until: float) -> bool:
    """A heartbeat lists the run: it is held until then; False for a stale one."""
    change = update(finetune).where(_HELD, finetune.c.run == run)
    told = {} if progress is None else {"progress": progress}
    return bool(conn.execute(change.values(lease_until=lease_until, **told)).rowcount)


def put_back(conn: Connection, *, id: str, run: str) -> bool:
    """Plan it again, without counting an attempt; False for a stale run."""
    change = update(finetune).where(_HELD, finetune.c.id == id, finetune.c.run == run)
    return bool(conn.execute(change.values(_QUEUED)).rowcount)


def charge(conn: Connection, row: AnyRow) -> bool:
    """Plan it again after a run that failed or died, which counts as an attempt; `row` is as `held` gave it."""
    change = update(finetune).where(_HELD, finetune.c.id == row.id, finetune.c.run == row.run)
    deaths = json.dumps([*json.loads(row.deaths), row.trainer])
    return bool(
        conn.execute(change.values({**_QUEUED, "attempts": row.attempts + 1, "deaths": deaths})).rowcount
    )


def end(
    conn: Connection, *, id: str, state: str, result: str | None, now: float, run: str | None = None
) -> AnyRow | None:
    """Close it once: its row as it is now; None when it had ended, or is not in that run any more."""
    change = update(finetune).where(_OPEN, finetune.c.id == id)
    if run is not None:
        change = change.where(finetune.c.run == run)
    values = {"state": state, "result": result, "lease_until": None, "progress": None, "ended_at": now}
    return _one(conn, change.values(values).returning(finetune))


def by_state(conn: Connection) -> Mapping[str, int]:
    """How many there are in each state."""
    query = select(finetune.c.state, func.count()).group_by(finetune.c.state)
    return dict(conn.execute(query).all())

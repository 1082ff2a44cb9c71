"""Webhooks owed: added with the change they tell of, claimed under a lease, settled, and kept as a log.

Every function works on the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    select,
    tuple_,
    update,
)

from schemas.errors import NotFound, SealBroken
from schemas.ids import new_id
from storage.ledger.sealed import erased_tenants, opened, sealed
from storage.ledger.tables import delivery, endpoint

DisabledReason = Literal["gone", "failing"]
DeliveryState = Literal["pending", "delivered", "abandoned"]


#: A constant in the SQL and not a parameter, because only then do the partial indexes serve.
_PENDING = delivery.c.state == literal_column("'pending'")


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    """One webhook to be owed; times are Unix seconds throughout."""

    tenant: str
    url: str
    type: str
    #: The job, batch or endpoint it tells of.
    about: str
    #: The JSON text exactly as it will be sent.
    body: str
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that the claimer alone may send until its lease ends, with what is known of its endpoint."""

    id: str
    tenant: str
    endpoint: str
    url: str
    type: str
    body: str
    traceparent: str | None
    #: Attempts made before this one.
    attempts: int
    failing_since: float | None
    consecutive_failures: int
    disabled: bool


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """How one attempt ended and what becomes of its delivery."""

    id: str
    endpoint: str
    state: DeliveryState
    #: Of the next attempt, while the state is still pending.
    next_attempt_at: float
    status: int | None
    error: str | None
    at: float


@dataclass(frozen=True, kw_only=True)
class DeliveryRecord:
    """One line of the delivery log. Never holds the body of the receiver's answer beyond a cleaned excerpt."""

    id: str
    endpoint: str
    type: str
    about: str
    state: DeliveryState
    attempts: int
    next_attempt_at: float
    last_status: int | None
    last_error: str | None
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, kw_only=True)
class EndpointRecord:
    """Where a tenant wants webhooks, and how it has fared."""

    id: str
    tenant: str
    url: str
    created_at: float
    failing_since: float | None
    consecutive_failures: int
    disabled_at: float | None
    disabled_reason: DisabledReason | None


def add(
    conn: Connection,
    *,
    tenant: str,
    url: str,
    type: str,
    about: str,
    body: str,
    traceparent: str | None,
    now: float,
) -> str | None:
    """The id of a new delivery, due at once; None when the endpoint is disabled. Makes the endpoint if needed."""
    new = NewDelivery(tenant=tenant, url=url, type=type, about=about, body=body, traceparent=traceparent)
    return add_many(conn, [new], now)[0]


def add_many(conn: Connection, deliveries: Sequence[NewDelivery], now: float) -> list[str | None]:
    """As `add`, for many in a fixed number of statements; the ids are in the order given, None for an erased tenant too."""
    gone = erased_tenants(conn, {new.tenant for new in deliveries})
    if gone:
        ids = iter(add_many(conn, [new for new in deliveries if new.tenant not in gone], now))
        return [None if new.tenant in gone else next(ids) for new in deliveries]
    if not deliveries:
        return []
    return _added(conn, deliveries, now)


def _added(conn: Connection, deliveries: Sequence[NewDelivery], now: float) -> list[str | None]:
    endpoints = _endpoints(conn, {(new.tenant, new.url) for new in deliveries}, now)
    ids: list[str | None] = []
    rows = []
    for new in deliveries:
        place = endpoints[new.tenant, new.url]
        ids.append(None if place.disabled_at is not None else new_id("dlv"))
        if ids[-1] is not None:
            rows.append(_row(new, ids[-1], place.id, now))
    if rows:
        conn.execute(insert(delivery), sealed(conn, "delivery", rows))
    return ids


def _row(new: NewDelivery, id: str, endpoint_id: str, now: float) -> dict[str, object]:
    return {
        "id": id,
        "tenant": new.tenant,
        "endpoint": endpoint_id,
        "type": new.type,
        "about": new.about,
        "body": new.body,
        "traceparent": new.traceparent,
        "state": "pending",
        "next_attempt_at": now,
        "created_at": now,
    }


def _endpoints(conn: Connection, places: set[tuple[str, str]], now: float) -> dict[tuple[str, str], Any]:
    """The endpoint rows of (tenant, url) pairs; those that do not exist yet are made."""
    found = _find_endpoints(conn, places)
    missing = sorted(
        places - found.keys()
    )  # sorted, so that two transactions that add the same ones cannot deadlock
    if missing:
        rows = [
            {"id": new_id("end"), "tenant": tenant, "url": url, "created_at": now} for tenant, url in missing
        ]
        conn.execute(_insert_new_endpoint(conn.dialect.name), rows)
        found |= _find_endpoints(conn, set(missing))
    return found


def _find_endpoints(conn: Connection, places: set[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    columns = (endpoint.c.id, endpoint.c.tenant, endpoint.c.url, endpoint.c.disabled_at)
    rows = conn.execute(select(*columns).where(tuple_(endpoint.c.tenant, endpoint.c.url).in_(sorted(places))))
    return {(row.tenant, row.url): row for row in rows}


def _insert_new_endpoint(dialect: str):  # type: ignore[no-untyped-def]  # two unrelated Insert classes
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(endpoint).on_conflict_do_nothing()
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(endpoint).on_conflict_do_nothing()


def claim(conn: Connection, now: float, limit: int, lease_seconds: float) -> list[ClaimedDelivery]:
    """Up to `limit` due deliveries, longest due first, kept from other claimers for `lease_seconds`.

    A claimer that dies leaves no trace: when the lease ends, the delivery is due again.
    """
    due = (
        select(delivery.c.id)
        .where(_PENDING, delivery.c.next_attempt_at <= now)
        .order_by(delivery.c.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True)  # left out on SQLite, where a write transaction is alone anyway
    )
    due_since = {
        row.id: row.next_attempt_at for row in conn.execute(due.add_columns(delivery.c.next_attempt_at))
    }
    if not due_since:
        return []
    conn.execute(
        update(delivery).where(delivery.c.id.in_(due_since)).values(next_attempt_at=now + lease_seconds)
    )
    columns = (
        delivery,
        endpoint.c.url,
        endpoint.c.failing_since,
        endpoint.c.consecutive_failures,
        endpoint.c.disabled_at,
    )
    rows = conn.execute(
        select(*columns)
        .join_from(delivery, endpoint, delivery.c.endpoint == endpoint.c.id)
        .where(delivery.c.id.in_(due_since))
    )
    found = sorted(rows, key=lambda row: (due_since[row.id], row.id))
    return [one for one in (_claimed(conn, row, now) for row in found) if one is not None]


def _claimed(conn: Connection, row: Row[Any], now: float) -> ClaimedDelivery | None:
    """None for a delivery whose body cannot be read any more, which ends here: nobody could send it."""
    try:
        (row,) = opened(conn, "delivery", [row])  # type: ignore[assignment]  # by its columns it is one
    except SealBroken:
        _unreadable(conn, row.id, now)
        return None
    if not row.body:
        _unreadable(conn, row.id, now)
        return None
    return ClaimedDelivery(
        id=row.id,
        tenant=row.tenant,
        endpoint=row.endpoint,
        url=row.url,
        type=row.type,
        body=row.body,
        traceparent=row.traceparent,
        attempts=row.attempts,
        failing_since=row.failing_since,
        consecutive_failures=row.consecutive_failures,
        disabled=row.disabled_at is not None,
    )


def _unreadable(conn: Connection, id: str, now: float) -> None:
    lost = update(delivery).where(delivery.c.id == id, _PENDING)
    conn.execute(lost.values(state="abandoned", last_error="body unreadable", ended_at=now))


def postpone(conn: Connection, ids: Iterable[str], until: float) -> None:
    """Put claimed deliveries back, due at `until`, without counting an attempt."""
    waiting = delivery.c.id.in_(list(ids)) & _PENDING
    conn.execute(update(delivery).where(waiting).values(next_attempt_at=until))


def postpone_endpoint(conn: Connection, endpoint_id: str, until: float) -> None:
    """Nothing waiting for this endpoint is due before `until`: its dead host must not fill the claims."""
    waiting = (delivery.c.endpoint == endpoint_id) & _PENDING & (delivery.c.next_attempt_at < until)
    conn.execute(update(delivery).where(waiting).values(next_attempt_at=until))


def settle(conn: Connection, settlements: Sequence[Settlement]) -> None:
    """Record attempts, and on each endpoint since when it has done nothing but fail.

    A delivery that has ended meanwhile, by another dispatcher after a lease ran out, stays as it is.
    """
    if not settlements:
        return
    b_id: BindParameter[str] = bindparam("b_id")
    b_state: BindParameter[str] = bindparam("b_state")
    statement = (
        update(delivery)
        .where(delivery.c.id == b_id, _PENDING)
        .values(
            state=b_state,
            attempts=delivery.c.attempts + 1,
            next_attempt_at=bindparam("b_next"),
            last_status=bindparam("b_status"),
            last_error=bindparam("b_error"),
            ended_at=case((b_state == "pending", null()), else_=bindparam("b_at")),
        )
    )
    conn.execute(statement, [_bound(settlement) for settlement in settlements])
    for settlement in settlements:
        _count_on_endpoint(conn, settlement)


def _bound(settlement: Settlement) -> dict[str, object]:
    return {
        "b_id": settlement.id,
        "b_state": settlement.state,
        "b_next": settlement.next_attempt_at,
        "b_status": settlement.status,
        "b_error": settlement.error,
        "b_at": settlement.at,
    }


def _count_on_endpoint(conn: Connection, settlement: Settlement) -> None:
    place = update(endpoint).where(endpoint.c.id == settlement.endpoint)
    if settlement.state == "delivered":
        # Only when something is to be reset: a healthy endpoint costs no write per delivery.
        place = place.where(endpoint.c.consecutive_failures > 0)
        conn.execute(place.values(failing_since=None, consecutive_failures=0))
    else:
        since = func.coalesce(endpoint.c.failing_since, settlement.at)
        conn.execute(
            place.values(failing_since=since, consecutive_failures=endpoint.c.consecutive_failures + 1)
        )


def disable(conn: Connection, endpoint_id: str, reason: DisabledReason, now: float) -> bool:
    """Send nothing more there: what is still owed is abandoned. False when it was disabled already."""
    off = update(endpoint).where(endpoint.c.id == endpoint_id, endpoint.c.disabled_at.is_(None))
    changed = conn.execute(off.values(disabled_at=now, disabled_reason=reason)).rowcount
    abandon(conn, endpoint_id, now)
    return bool(changed)


def abandon(conn: Connection, endpoint_id: str, now: float) -> None:
    """End what is owed to a disabled endpoint; `reenable` can bring it back."""
    owed = (delivery.c.endpoint == endpoint_id) & _PENDING
    conn.execute(
        update(delivery).where(owed).values(state="abandoned", last_error="endpoint disabled", ended_at=now)
    )


def reenable(
    conn: Connection, *, tenant: str, endpoint_id: str, now: float, replay_since: float | None = None
) -> int:
    """Send there again; with `replay_since`, what was abandoned of all created since then is due anew, with ten
    attempts and the same ids. The number of replayed deliveries; NotFound for another tenant's endpoint.
    """
    on = update(endpoint).where(endpoint.c.id == endpoint_id, endpoint.c.tenant == tenant)
    fresh = on.values(disabled_at=None, disabled_reason=None, failing_since=None, consecutive_failures=0)
    if not conn.execute(fresh).rowcount:
        raise NotFound("there is no such endpoint", field="endpoint")
    if replay_since is None:
        return 0
    lost = (
        (delivery.c.endpoint == endpoint_id)
        & (delivery.c.state == "abandoned")
        & (delivery.c.created_at >= replay_since)
    )
    again = (
        update(delivery).where(lost).values(state="pending", attempts=0, next_attempt_at=now, ended_at=None)
    )
    return conn.execute(again).rowcount


def endpoints(conn: Connection, tenant: str) -> list[EndpointRecord]:
    """All endpoints of a tenant, oldest first."""
    rows = conn.execute(select(endpoint).where(endpoint.c.tenant == tenant).order_by(endpoint.c.id))
    return [EndpointRecord(**row._mapping) for row in rows]


def log(
    conn: Connection,
    *,
    tenant: str,
    about: str | None = None,
    endpoint_id: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[DeliveryRecord]:
    """A tenant's deliveries, newest first, of one job, batch or endpoint; `before` is the last id of the page before."""
    columns = [delivery.c[name] for name in DeliveryRecord.__dataclass_fields__]
    query = select(*columns).where(delivery.c.tenant == tenant).order_by(delivery.c.id.desc()).limit(limit)
    for column, wanted in ((delivery.c.about, about), (delivery.c.endpoint, endpoint_id)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(delivery.c.id < before)
    return [DeliveryRecord(**row._mapping) for row in conn.execute(query)]


def oldest_due(conn: Connection) -> float | None:
    """When the next pending delivery is due or has been due since; None when nothing is owed."""
    oldest = select(func.min(delivery.c.next_attempt_at)).where(_PENDING)
    return conn.execute(oldest).scalar()

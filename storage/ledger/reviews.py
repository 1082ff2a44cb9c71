"""Reviews: one row per held picture, claimed under a lease, decided once.

Every function works on the caller's transaction. A change is made only from the state that it belongs to, so that of
two reviewers, or a reviewer and the clock, one wins and the other learns of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from storage.ledger.legal_holds import not_held
from storage.ledger.oversight_tables import review
from storage.ledger.sql import AnyRow
from storage.ledger.tables import image

ReviewState = Literal["open", "claimed", "released", "rejected", "expired", "withdrawn"]

#: Spelled out and not bound, so that the partial indexes serve.
_OPEN = review.c.state.in_([literal_column("'open'"), literal_column("'claimed'")])
_HELD = exists().where(image.c.id == review.c.image, image.c.state == literal_column("'held'"))
#: A legal hold on its batch, which a review does not name, or on the image itself.
_ON_HOLD = exists().where(image.c.id == review.c.image, ~not_held(image))
_UNSETTLED = and_(review.c.state == literal_column("'released'"), review.c.settled_at.is_(None))


@dataclass(frozen=True, kw_only=True)
class NewReview:
    """One held picture; times are Unix seconds."""

    id: str
    image: str
    job: str
    tenant: str
    digest: str
    #: JSON of the output's verdict, with its scores.
    verdict: str
    #: JSON of the quarantine's reference.
    quarantined: str
    hard_floor: bool
    created_at: float
    expires_at: float
    keep_until: float | None
    state: str = "open"


def add(conn: Connection, new: Sequence[NewReview]) -> None:
    if new:
        conn.execute(insert(review), [vars(one) for one in new])


def get(conn: Connection, id: str, *, tenant: str | None = None) -> AnyRow | None:
    """One review; with `tenant`, only if it is that tenant's."""
    query = select(review).where(review.c.id == id)
    return conn.execute(query if tenant is None else query.where(review.c.tenant == tenant)).first()


def page(
    conn: Connection,
    *,
    state: str | None,
    tenant: str | None = None,
    floor: bool = True,
    after: str = "",
    count: int = 100,
) -> Sequence[AnyRow]:
    """Reviews in the order they were opened; `state` "waiting" stands for open and claimed, `floor` shows the hard floor."""
    query = select(review).where(review.c.id > after).order_by(review.c.id).limit(count)
    if state == "waiting":
        query = query.where(_OPEN)
    elif state is not None:
        query = query.where(review.c.state == state)
    if not floor:
        query = query.where(review.c.hard_floor.is_(False))
    return conn.execute(query if tenant is None else query.where(review.c.tenant == tenant)).all()


def claim(conn: Connection, *, id: str, reviewer: str, until: float, now: float) -> AnyRow | None:
    """Give it to one reviewer until then; None while another one holds it, or when it is decided or past its time.

    Claiming what one holds already extends the lease.
    """
    free = or_(
        review.c.state == "open",
        review.c.lease_until <= now,
        review.c.reviewer == reviewer,
    )
    values = {"state": "claimed", "reviewer": reviewer, "lease_until": until}
    return _changed(conn, id, and_(_OPEN, review.c.expires_at > now, free), values)


def unclaim(conn: Connection, *, id: str, reviewer: str, now: float) -> AnyRow | None:
    """Give it back without a decision."""
    return _changed(conn, id, _held_by(reviewer, now), _FREE)


def first_release(conn: Connection, *, id: str, reviewer: str, reason: str, now: float) -> AnyRow | None:
    """The first of two releases: it waits for somebody else."""
    mine = and_(_held_by(reviewer, now), review.c.first_release_by.is_(None))
    return _changed(conn, id, mine, {**_FREE, "first_release_by": reviewer, "reason": reason})


def release(conn: Connection, *, id: str, reviewer: str, reason: str, now: float) -> AnyRow | None:
    """Decide to publish; the image stays held until that is done (see `settle`)."""
    return _decided(conn, id, "released", reviewer, reason, now)


def reject(conn: Connection, *, id: str, reviewer: str, reason: str, now: float) -> AnyRow | None:
    return _decided(conn, id, "rejected", reviewer, reason, now, settled_at=now)


def expire(conn: Connection, now: float, count: int = 200) -> Sequence[AnyRow]:
    """End up to `count` reviews whose time is over and that nobody has decided."""
    late = select(review.c.id).where(_OPEN, review.c.expires_at <= now).order_by(review.c.id).limit(count)
    values = {**_FREE, "state": "expired", "decided_at": now, "settled_at": now}
    change = update(review).where(review.c.id.in_(late), _OPEN).values(values)
    return conn.execute(change.returning(review)).all()


def withdraw(conn: Connection, now: float) -> Sequence[AnyRow]:
    """End the reviews, decided for release or not decided, of images that are not held any more."""
    values = {**_FREE, "state": "withdrawn", "decided_at": now, "settled_at": now, "keep_until": now}
    change = update(review).where(or_(_OPEN, _UNSETTLED), ~_HELD).values(values)
    return conn.execute(change.returning(review)).all()


def any_due(conn: Connection, now: float) -> bool:
    """Whether `expire` or `withdraw` would find anything; for a read transaction."""
    due = and_(_OPEN, review.c.expires_at <= now)
    query = select(review.c.id).where(or_(due, and_(or_(_OPEN, _UNSETTLED), ~_HELD))).limit(1)
    return conn.execute(query).first() is not None


def owners(conn: Connection, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Tenant and job of images."""
    rows = conn.execute(select(image.c.id, image.c.tenant, image.c.job).where(image.c.id.in_(ids)))
    return {row.id: (row.tenant, row.job) for row in rows}


def unsettled(conn: Connection, *, after: str = "", count: int = 20) -> Sequence[AnyRow]:
    """Released ones whose pictures are still to be published, oldest first; none whose image was canceled meanwhile."""
    query = select(review).where(_UNSETTLED, _HELD, review.c.id > after)
    return conn.execute(query.order_by(review.c.id).limit(count)).all()


def settle(conn: Connection, *, id: str, now: float) -> AnyRow | None:
    """Its picture is published, or never can be; None when somebody else had noted that."""
    return _changed(conn, id, _UNSETTLED, {"settled_at": now, "keep_until": now})


def discardable(conn: Connection, now: float, count: int = 100) -> Sequence[AnyRow]:
    """Ended reviews whose pictures have been kept long enough, and on which no legal hold lies."""
    due = and_(review.c.discarded_at.is_(None), review.c.keep_until.is_not(None), review.c.keep_until <= now)
    ended = and_(review.c.settled_at.is_not(None), not_held(review), ~_ON_HOLD)
    return conn.execute(select(review).where(due, ended).order_by(review.c.keep_until).limit(count)).all()


def on_legal_hold(conn: Connection, id: str) -> bool:
    """Whether a legal hold lies on a review's job, batch or tenant."""
    query = select(review.c.id).where(review.c.id == id, or_(~not_held(review), _ON_HOLD))
    return conn.execute(query).first() is not None


def discarded(conn: Connection, *, id: str, now: float) -> bool:
    """Note that the quarantined picture is gone; False when it was noted before or the review is still open."""
    here = and_(review.c.discarded_at.is_(None), review.c.settled_at.is_not(None))
    return _changed(conn, id, here, {"discarded_at": now}) is not None


def counts(conn: Connection) -> dict[str, int]:
    """How many reviews stand in each open state, and how many pictures are kept until somebody says otherwise."""
    rows = conn.execute(select(review.c.state, func.count()).where(_OPEN).group_by(review.c.state)).all()
    kept = and_(review.c.discarded_at.is_(None), review.c.keep_until.is_(None))
    held = conn.execute(select(func.count()).select_from(review).where(kept)).scalar_one()
    return {"open": 0, "claimed": 0, **{row[0]: row[1] for row in rows}, "restricted": held}


def oldest(conn: Connection) -> float | None:
    """When the oldest undecided review was opened."""
    found: float | None = conn.execute(select(func.min(review.c.created_at)).where(_OPEN)).scalar()
    return found


_FREE: dict[str, Any] = {"state": "open", "reviewer": None, "lease_until": None}


def _held_by(reviewer: str, now: float) -> ColumnElement[bool]:
    return and_(
        review.c.state == literal_column("'claimed'"),
        review.c.reviewer == reviewer,
        review.c.lease_until > now,
        review.c.expires_at > now,
    )


def _decided(
    conn: Connection, id: str, state: str, reviewer: str, reason: str, now: float, **more: Any
) -> AnyRow | None:
    values = {"state": state, "lease_until": None, "reason": reason, "decided_at": now, **more}
    return _changed(conn, id, _held_by(reviewer, now), values)


def _changed(conn: Connection, id: str, where: ColumnElement[bool], values: dict[str, Any]) -> AnyRow | None:
    return conn.execute(
        update(review).where(review.c.id == id, where).values(values).returning(review)
    ).first()

"""Idempotency keys: the first answer to a request is kept and given again to its repeats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from schemas.errors import IdempotencyConflict, StillRunning, TenantErased
from storage.ledger.sealed import opened, sealed_text
from storage.ledger.tables import idempotency

#: How long an answer is kept; published in the API's description.
KEEP_SECONDS = 24 * 3600.0
#: A request that has not been answered for so long died with its process.
IN_PROGRESS_SECONDS = 60.0

_HEADER = "Idempotency-Key"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One key of one tenant on one route; the same key elsewhere is another."""

    tenant: str
    route: str
    key: str

    def matches(self) -> ColumnElement[bool]:
        table = idempotency.c
        return (table.tenant == self.tenant) & (table.route == self.route) & (table.key == self.key)


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """The caller has to do the work, and then `finish` or `forget`.

    `token` is the same when a repeat takes over from a process that died half way, so work named by it is recognised.
    """

    token: str


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The answer that was given the first time."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str


def fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def begin(
    conn: Connection,
    scope: Scope,
    fingerprint: str,
    now: float,
    in_progress_seconds: float = IN_PROGRESS_SECONDS,
) -> Fresh | Replay:
    """Fresh for the first request with this key, Replay for a repeat.

    IdempotencyConflict when the key came with another body, StillRunning while the first is being answered. Commit
    before doing the work.
    """
    conn.execute(delete(idempotency).where(scope.matches(), idempotency.c.expires_at <= now))
    row = _find(conn, scope)
    if row is None:
        row = _start(conn, scope, fingerprint, now)
        if row is None:
            return Fresh(token=_token(scope, now + KEEP_SECONDS))
    if row.fingerprint != fingerprint:
        raise IdempotencyConflict(field=_HEADER)
    if row.status is not None:
        (plain,) = opened(conn, "idempotency", [row])
        if not plain.body:
            raise TenantErased
        return Replay(status=row.status, headers=json.loads(row.headers), body=plain.body)
    if row.created_at + in_progress_seconds > now or not _take_over(conn, scope, row.created_at, now):
        raise StillRunning(field=_HEADER)
    return Fresh(token=_token(scope, row.expires_at))


def finish(conn: Connection, scope: Scope, *, status: int, headers: Mapping[str, str], body: str) -> None:
    """Keep the answer; `headers` are those to give again."""
    kept = sealed_text(conn, "idempotency", "body", body, tenant=scope.tenant, row=f"{scope.route}/{scope.key}")
    answer = {"status": status, "headers": json.dumps(dict(headers)), "body": kept}
    conn.execute(update(idempotency).where(scope.matches(), idempotency.c.status.is_(None)).values(**answer))


def forget(conn: Connection, scope: Scope) -> None:
    """The request was not accepted: the same key may be tried again."""
    conn.execute(delete(idempotency).where(scope.matches(), idempotency.c.status.is_(None)))


def purge(conn: Connection, now: float) -> int:
    """Delete what has expired; the number of answers deleted."""
    return conn.execute(delete(idempotency).where(idempotency.c.expires_at <= now)).rowcount


def _find(conn: Connection, scope: Scope) -> Row[Any] | None:
    return conn.execute(select(idempotency).where(scope.matches())).one_or_none()


def _start(conn: Connection, scope: Scope, fingerprint: str, now: float) -> Row[Any] | None:
    """None when the row is ours; the row of whoever was faster otherwise."""
    row = {"tenant": scope.tenant, "route": scope.route, "key": scope.key, "fingerprint": fingerprint}
    times = {"created_at": now, "expires_at": now + KEEP_SECONDS}
    try:
        with conn.begin_nested():
            conn.execute(insert(idempotency).values(**row, **times))
    except IntegrityError:
        return _find(conn, scope)
    return None


def _take_over(conn: Connection, scope: Scope, started_at: float, now: float) -> bool:
    """True for one of several repeats that find the same dead request."""
    mine = scope.matches() & idempotency.c.status.is_(None) & (idempotency.c.created_at == started_at)
    return conn.execute(update(idempotency).where(mine).values(created_at=now)).rowcount == 1


def _token(scope: Scope, expires_at: float) -> str:
    """Names this use of the key: after it has expired, the same key is new work."""
    parts = (scope.tenant, scope.route, scope.key, repr(expires_at))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()

"""The standing of tenants: who asks for too much that is refused is slowed down, then shut out."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from schemas.errors import TenantSuspended, TenantThrottled
from storage.ledger import audit, standing
from storage.ledger.audit import Entry
from storage.ledger.engine import Ledger
from storage.ledger.standing import Standing, StandingState, Tally

#: Who sets a standing by the rates below; what an operator sets is an operator's to lift.
ABUSE = "abuse"


@dataclass(frozen=True, kw_only=True)
class AbuseParams:
    """When refusals are too many: enough of them in the window, and enough of all that was asked for."""

    window_seconds: float = 3600.0
    throttle_refusals: int = 20
    throttle_rate: float = 0.2
    suspend_refusals: int = 100
    suspend_rate: float = 0.5
    #: Requests that a throttled tenant may make in a minute, at each door.
    throttled_per_minute: int = 6
    #: How old the doors' knowledge of standings may be.
    cache_seconds: float = 2.0


def standing_for(tally: Tally, params: AbuseParams) -> StandingState:
    """What the refusals of one window amount to."""
    if tally.refused >= params.suspend_refusals and tally.rate >= params.suspend_rate:
        return "suspended"
    if tally.refused >= params.throttle_refusals and tally.rate >= params.throttle_rate:
        return "throttled"
    return "good"


def reconsider(conn: Connection, params: AbuseParams, now: float) -> list[Standing]:
    """Set standings by what was refused in the window; returns those that changed.

    A throttle ends by itself once its refusals have left the window; a suspension only ends by an operator.
    """
    known = {one.tenant: one for one in standing.everyone(conn)}
    least = min(params.throttle_refusals, params.suspend_refusals)
    window = {
        one.tenant: one for one in standing.tallies(conn, since=now - params.window_seconds, at_least=least)
    }
    changed = []
    for tenant in sorted({*known, *window}):
        old = known.get(tenant)
        if old is not None and (old.state == "suspended" or (old.state != "good" and old.set_by != ABUSE)):
            continue
        tally = window.get(tenant, Tally(tenant=tenant, refused=0, asked=0))
        state = standing_for(tally, params)
        if state != (old.state if old else "good"):
            reason = f"{tally.refused} of {tally.asked} refused in {params.window_seconds / 60:g} minutes"
            from_ = old.counted_from if old else 0.0
            changed.append(
                Standing(
                    tenant=tenant, state=state, reason=reason, set_by=ABUSE, since=now, counted_from=from_
                )
            )
    _set(conn, changed, now)
    return changed


def suspend(conn: Connection, tenant: str, operator: str, reason: str, now: float) -> Standing:
    """Shut a tenant out, as an operator says; what it has queued is then canceled by the oversight."""
    return _by_operator(conn, tenant, "suspended", operator, reason, now)


def restore(conn: Connection, tenant: str, operator: str, reason: str, now: float) -> Standing:
    """Let a tenant in again; what was refused to it until now is forgiven."""
    return _by_operator(conn, tenant, "good", operator, reason, now)


def _by_operator(
    conn: Connection, tenant: str, state: StandingState, operator: str, reason: str, now: float
) -> Standing:
    new = Standing(
        tenant=tenant, state=state, reason=reason, set_by=f"operator:{operator}", since=now, counted_from=now
    )
    _set(conn, [new], now)
    return new


def _set(conn: Connection, changed: list[Standing], now: float) -> None:
    names = {"good": "tenant.restored", "throttled": "tenant.throttled", "suspended": "tenant.suspended"}
    for one in changed:
        standing.put(conn, one)
    audit.append(
        conn,
        [
            Entry(kind=names[one.state], actor=one.set_by, tenant=one.tenant, data={"reason": one.reason})
            for one in changed
        ],
        now,
    )


class Gate:
    """Lets tenants in at one door; knows their standings from a look at the ledger every few seconds. Thread-safe."""

    def __init__(self, ledger: Ledger, params: AbuseParams, clock: Callable[[], float]) -> None:
        self._ledger, self._params, self._clock = ledger, params, clock
        self._lock = threading.Lock()
        self._known: dict[str, Standing] = {}
        self._read_at = -math.inf
        #: When each throttled tenant's next request is due.
        self._next: dict[str, float] = {}

    def admit(self, tenant: str) -> None:
        """Raises TenantSuspended, or TenantThrottled for a tenant that has used up what it may ask for now."""
        with self._lock:
            now = self._clock()
            if self._look(tenant, now) == "throttled":
                self._take_turn(tenant, now)

    def turn_away(self, tenant: str) -> None:
        """Raises TenantSuspended, and lets a throttled tenant do what is no request of its own."""
        with self._lock:
            self._look(tenant, self._clock())

    def _look(self, tenant: str, now: float) -> StandingState:
        if not 0 <= now - self._read_at < self._params.cache_seconds:
            with self._ledger.read() as conn:
                self._known = standing.troubled(conn)
            self._read_at = now
            self._next = {name: due for name, due in self._next.items() if name in self._known}
        one = self._known.get(tenant)
        if one is not None and one.state == "suspended":
            raise TenantSuspended(field="tenant")
        return one.state if one is not None else "good"

    def _take_turn(self, tenant: str, now: float) -> None:
        # The least that GCRA (ITU-T I.371) needs: the moment at which the next one conforms, and no burst.
        due = self._next.get(tenant, now)
        if due > now:
            raise TenantThrottled(retry_after_seconds=due - now)
        self._next[tenant] = now + 60.0 / self._params.throttled_per_minute

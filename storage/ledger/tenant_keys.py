"""The data keys of tenants: made when a tenant's first text is sealed, replaced, wrapped anew, and dropped for erasure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from schemas.errors import KeyMissing, TenantErased
from storage.ledger.sql import AnyRow, run, statement
from storage.ledger.tables import tenant_key
from storage.sealing import DataKey, MasterKeys, new_data_key

_OF_TENANT = statement(
    "SELECT number, wrapped, erased_at FROM tenant_key WHERE tenant = :tenant ORDER BY number"
)
# Shared with other writers; whoever drops the key waits for them, so that nothing is sealed with a key that is gone.
_FOR_SEALING = {
    **_OF_TENANT,
    "postgresql": statement(
        "SELECT number, wrapped, erased_at FROM tenant_key WHERE tenant = :tenant ORDER BY number FOR SHARE"
    )["postgresql"],
}
_NEW = statement(
    """INSERT INTO tenant_key (tenant, number, wrapped, created_at) VALUES (:tenant, :number, :wrapped, :now)
       ON CONFLICT (tenant, number) DO NOTHING"""
)
#: Unwrapped keys kept in memory; a wrapped key that the ledger no longer has is never looked up here.
_CACHED_MOST = 10_000


#: The name under which a transaction's connection carries its keyring.
KEYRING = "aquatint_keyring"
#: So long a process may go on opening with a key that another one has dropped.
TRUSTED_SECONDS = 5.0


class KeyCache:
    """What a process remembers of keys between transactions; any thread may use it."""

    def __init__(self) -> None:
        #: By their wrapped form.
        self.opened: dict[str, DataKey] = {}
        #: By tenant and number, with the monotonic time until which they need not be looked up to open something.
        self.trusted: dict[tuple[str, int], tuple[DataKey, float]] = {}

    def forget(self, tenant: str) -> None:
        for place in [place for place in list(self.trusted) if place[0] == tenant]:
            self.trusted.pop(place, None)


class Keyring:
    """The keys that one transaction needs, each looked up at most once."""

    def __init__(self, master: MasterKeys, cache: KeyCache) -> None:
        self._master, self._cache, self._opened = master, cache, cache.opened
        self._found: dict[str, dict[int, DataKey | None]] = {}
        self._sealing: dict[str, DataKey] = {}

    def for_sealing(self, conn: Connection, tenant: str) -> DataKey:
        """The tenant's newest key, made if it has none; TenantErased when it was dropped."""
        if tenant not in self._sealing:
            self._sealing[tenant] = self._newest(conn, tenant)
        return self._sealing[tenant]

    def is_erased(self, conn: Connection, tenant: str) -> bool:
        """Whether `for_sealing` refuses the tenant."""
        try:
            self.for_sealing(conn, tenant)
        except TenantErased:
            return True
        return False

    def for_opening(self, conn: Connection, tenant: str, number: int) -> DataKey | None:
        """The key of that number; None when it was dropped. KeyMissing when there never was one."""
        trusted = self._cache.trusted.get((tenant, number))
        if trusted is not None and time.monotonic() < trusted[1]:
            return trusted[0]
        if tenant not in self._found:
            self._found[tenant] = self._unwrapped(run(conn, _OF_TENANT, tenant=tenant).all(), tenant)
        known = self._found[tenant]
        if number not in known:
            raise KeyMissing(f"the ledger has no key {number} of tenant {tenant}")
        key = known[number]
        if key is not None:
            if len(self._cache.trusted) >= _CACHED_MOST:
                self._cache.trusted.clear()
            self._cache.trusted[tenant, number] = (key, time.monotonic() + TRUSTED_SECONDS)
        return key

    def forget(self, tenant: str) -> None:
        """The tenant's keys have changed in this transaction."""
        self._cache.forget(tenant)
        self._found.pop(tenant, None)
        self._sealing.pop(tenant, None)

    def _newest(self, conn: Connection, tenant: str) -> DataKey:
        rows = run(conn, _FOR_SEALING, tenant=tenant).all()
        if not rows:
            made = new_data_key(tenant, 1)
            run(conn, _NEW, tenant=tenant, number=1, wrapped=self._master.wrap(made), now=time.time())
            rows = run(conn, _FOR_SEALING, tenant=tenant).all()  # another transaction may have been faster
        keys = self._found[tenant] = self._unwrapped(rows, tenant)
        newest = keys[max(keys)]
        if newest is None:
            raise TenantErased
        return newest

    def _unwrapped(self, rows: Sequence[AnyRow], tenant: str) -> dict[int, DataKey | None]:
        return {row.number: self._open(row.wrapped, tenant, row.number) for row in rows}

    def _open(self, wrapped: str | None, tenant: str, number: int) -> DataKey | None:
        if wrapped is None:
            return None
        if wrapped not in self._opened:
            if len(self._opened) >= _CACHED_MOST:
                self._opened.clear()
            self._opened[wrapped] = self._master.unwrap(wrapped, tenant, number)
        return self._opened[wrapped]


def keyring(conn: Connection) -> Keyring | None:
    """The keys of this transaction; None in a ledger that was opened without the installation's secret."""
    found: Keyring | None = conn.get_execution_options().get(KEYRING)
    return found


def drop(conn: Connection, tenant: str, now: float) -> int:
    """Drop all keys of a tenant: nothing it ever sealed can be read again, here or in a backup. How many there were.

    A tenant without a key gets a dropped one, so that it is refused from now on.
    """
    theirs = update(tenant_key).where(tenant_key.c.tenant == tenant, tenant_key.c.wrapped.is_not(None))
    dropped = conn.execute(theirs.values(wrapped=None, erased_at=now)).rowcount
    if (keys := keyring(conn)) is not None:
        keys.forget(tenant)
    if not newest(conn, tenant):
        row = {"tenant": tenant, "number": 1, "wrapped": None, "created_at": now, "erased_at": now}
        conn.execute(insert(tenant_key), [row])
    return dropped


def admit(conn: Connection, master: MasterKeys, tenant: str, now: float) -> int:
    """Give a tenant a fresh key, whose number is returned: an erased one starts anew, another one seals with it from now on."""
    number = newest(conn, tenant) + 1
    wrapped = master.wrap(new_data_key(tenant, number))
    conn.execute(
        insert(tenant_key), [{"tenant": tenant, "number": number, "wrapped": wrapped, "created_at": now}]
    )
    return number


def newest(conn: Connection, tenant: str) -> int:
    """The number of the tenant's newest key, dropped or not; 0 when it has none."""
    return int(
        conn.execute(select(func.max(tenant_key.c.number)).where(tenant_key.c.tenant == tenant)).scalar() or 0
    )


def is_erased(conn: Connection, tenant: str) -> bool:
    """Whether the tenant was erased and has not been admitted again."""
    rows = run(conn, _OF_TENANT, tenant=tenant).all()
    return bool(rows) and rows[-1].wrapped is None


def wrap_anew(conn: Connection, master: MasterKeys, limit: int = 1000) -> int:
    """Wrap up to `limit` keys under the current secret that still lie under the one before; how many were moved."""
    stale = select(tenant_key).where(
        tenant_key.c.wrapped.is_not(None), tenant_key.c.wrapped.not_like(f"{master.id}.%")
    )
    rows = conn.execute(stale.limit(limit)).all()
    for row in rows:
        mine = (tenant_key.c.tenant == row.tenant) & (tenant_key.c.number == row.number)
        wrapped = master.wrap(master.unwrap(row.wrapped, row.tenant, row.number))
        conn.execute(update(tenant_key).where(mine).values(wrapped=wrapped))
    return len(rows)


def unreadable(conn: Connection, master: MasterKeys) -> int:
    """How many keys are wrapped under a secret that is not known here: their tenants' texts cannot be read."""
    query = select(tenant_key.c.wrapped).where(tenant_key.c.wrapped.is_not(None))
    return sum(not master.knows(row.wrapped) for row in conn.execute(query))

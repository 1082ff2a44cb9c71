"""Which pictures a tenant keeps with us, how many bytes they are, what needs them, and which may go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from schemas.errors import LedgerBusy, QuotaReached
from storage.ledger.tables import input_use, kept_input


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What one tenant may have sent or had fetched, at most; copies of its own objects are not counted."""

    count: int
    bytes: int


def use(conn: Connection, tenant: str, sha256: str, now: float) -> bool:
    """Note that a request named it; False when it is not kept, or is being removed."""
    mine = (kept_input.c.tenant == tenant) & (kept_input.c.sha256 == sha256)
    change = update(kept_input).where(mine, kept_input.c.removing_at.is_(None)).values(used_at=now)
    return bool(conn.execute(change).rowcount)


def add(
    conn: Connection, tenant: str, sha256: str, *, size: int, counted: bool, quota: Quota, now: float
) -> None:
    """Note a picture before it is stored, so that whatever lies in a store is known here.

    QuotaReached when the tenant has no room for it; LedgerBusy while the same picture is being removed.
    """
    if use(conn, tenant, sha256, now):
        return
    if counted:
        _require_room(conn, tenant, size, quota)
    row = {"tenant": tenant, "sha256": sha256, "bytes": size, "counted": counted}
    try:
        with conn.begin_nested():
            conn.execute(insert(kept_input).values(**row, added_at=now, used_at=now))
    except IntegrityError:
        if not use(conn, tenant, sha256, now):
            raise LedgerBusy("this picture is just being removed: send it again") from None


def _require_room(conn: Connection, tenant: str, size: int, quota: Quota) -> None:
    count, kept = totals(conn, tenant)
    if count + 1 > quota.count or kept + size > quota.bytes:
        raise QuotaReached(
            f"{count} pictures of {kept} bytes are kept, and this one has {size}: "
            "what is no longer named by requests is removed after a time",
            limit={"count": quota.count, "bytes": quota.bytes},
        )


def totals(conn: Connection, tenant: str) -> tuple[int, int]:
    """How many pictures count towards the tenant's quota, and their bytes."""
    query = select(func.count(), func.coalesce(func.sum(kept_input.c.bytes), 0))
    row = conn.execute(query.where(kept_input.c.tenant == tenant, kept_input.c.counted.is_(True))).one()
    return int(row[0]), int(row[1])


_NEED = text(
    "INSERT INTO input_use (tenant, sha256, owner) VALUES (:tenant, :sha256, :owner) ON CONFLICT DO NOTHING"
)


def need(conn: Connection, tenant: str, owner: str, pictures: Iterable[str]) -> None:
    """What a job, batch or fine-tune needs stays while that is open."""
    rows = [{"tenant": tenant, "sha256": sha256, "owner": owner} for sha256 in sorted(set(pictures))]
    if rows:
        conn.execute(_NEED, rows)


_UNUSED = text(
    """UPDATE kept_input SET removing_at = :now WHERE (tenant, sha256) IN (
         SELECT tenant, sha256 FROM kept_input AS k WHERE k.used_at < :before
         AND NOT EXISTS (SELECT 1 FROM legal_hold AS h WHERE h.tenant = k.tenant) AND NOT EXISTS (
           SELECT 1 FROM input_use AS u WHERE u.tenant = k.tenant AND u.sha256 = k.sha256 AND (
             EXISTS (SELECT 1 FROM job WHERE job.id = u.owner AND job.ended_at IS NULL)
             OR EXISTS (SELECT 1 FROM batch WHERE batch.id = u.owner AND batch.phase <> 'ended')
             OR EXISTS (SELECT 1 FROM finetune WHERE finetune.id = u.owner
                        AND finetune.state IN ('queued', 'released', 'running'))))
         ORDER BY k.used_at LIMIT :count)
       RETURNING tenant, sha256"""
)


def take_unused(conn: Connection, *, before: float, now: float, count: int = 100) -> list[tuple[str, str]]:
    """Mark pictures (tenant, sha256) that nothing open needs and nobody has named since `before`: they may be removed.

    What was marked and not removed, because a process died, is among them again.
    """
    return [(row[0], row[1]) for row in conn.execute(_UNUSED, {"before": before, "now": now, "count": count})]


def forget(conn: Connection, tenant: str, sha256: str) -> None:
    """The picture is gone from the store."""
    for table in (input_use, kept_input):
        conn.execute(delete(table).where(table.c.tenant == tenant, table.c.sha256 == sha256))

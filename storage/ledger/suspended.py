"""What a suspended tenant still has in the queues."""

# ruff: noqa: S608  (constants are put together, never values)

from __future__ import annotations

from sqlalchemy import Connection

from storage.ledger.images import Ended
from storage.ledger.sql import run, statement

# Lane by lane, so that the index of what is ready serves; suspects have a small index of their own.
_THEIRS = (
    """SELECT id FROM image WHERE state = 'planned' AND lane = {lane} AND tenant = :tenant LIMIT :count"""
)
_SUSPECTS = "SELECT id FROM image WHERE state = 'suspect' AND tenant = :tenant LIMIT :count"
_QUERIES = (_THEIRS.replace("{lane}", "0"), _THEIRS.replace("{lane}", "1"), _SUSPECTS)
_CANCEL = tuple(
    statement(
        f"""UPDATE image SET state = 'canceled', result = :result, ended_at = :now, microbatch = NULL
            WHERE id IN ({query}) AND state IN ('planned', 'suspect') RETURNING id, job, batch, state"""
    )
    for query in _QUERIES
)
_FINETUNES = statement(
    "SELECT id FROM finetune WHERE state IN ('queued', 'released', 'running') AND tenant = :tenant ORDER BY id"
)
_ANY = tuple(statement(query) for query in _QUERIES)


def has_planned(conn: Connection, tenant: str) -> bool:
    """Whether anything of the tenant waits for a worker."""
    return any(run(conn, query, tenant=tenant, count=1).first() is not None for query in _ANY)


def open_finetunes(conn: Connection, tenant: str) -> list[str]:
    """The tenant's fine-tunes that have not ended."""
    return [row.id for row in run(conn, _FINETUNES, tenant=tenant)]


def cancel_planned(conn: Connection, *, tenant: str, result: str, now: float, count: int) -> list[Ended]:
    """Cancel up to `count` images that wait for a worker; `result` (JSON) says why. What is on a GPU ends there."""
    ended: list[Ended] = []
    for change in _CANCEL:
        left = count - len(ended)
        if left > 0:
            ended += [
                Ended(*row) for row in run(conn, change, tenant=tenant, result=result, now=now, count=left)
            ]
    return ended

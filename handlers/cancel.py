"""Calling off what has not ended."""

from __future__ import annotations

from sqlalchemy import Connection

from handlers.notices import account, finetune_ended
from schemas.errors import NotFound
from storage.ledger import batches, finetunes, images, jobs


def cancel_job(conn: Connection, *, tenant: str, id: str, now: float) -> int:
    """Cancel what is left of a job; the number of images that changed. NotFound for another tenant's job."""
    if jobs.get(conn, tenant=tenant, id=id) is None:
        raise NotFound("there is no such job", field="job")
    ended = images.cancel_job(conn, id, now)
    account(conn, ended, now)
    return len(ended)


def cancel_batch(conn: Connection, *, tenant: str, id: str, now: float) -> int:
    """Cancel what is left of a batch, rows that are not planned yet included; the number of images that changed."""
    if batches.get(conn, tenant=tenant, id=id) is None:
        raise NotFound("there is no such batch", field="batch")
    # First, so that a planner beside it adds no more: it loses the race for the cursor.
    batches.planned(conn, id=id, tenant=tenant)
    ended = images.cancel_batch(conn, id, now)
    account(conn, ended, now)
    return len(ended)


def cancel_finetune(conn: Connection, *, tenant: str, id: str, now: float) -> bool:
    """Cancel a fine-tune, whose trainer is then told to leave it; False when it had ended before."""
    if finetunes.get(conn, tenant=tenant, id=id) is None:
        raise NotFound("there is no such fine-tune", field="finetune")
    row = finetunes.end(conn, id=id, state="canceled", result=None, now=now)
    if row is not None:
        finetune_ended(conn, row, now)
    return row is not None

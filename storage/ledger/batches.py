"""Batches: one accepted manifest each, planned by a cursor that moves with the rows it has passed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, literal_column, select, update

from schemas.errors import TenantErased
from storage.ledger.images import Ended
from storage.ledger.jobs import tally_rows, tally_template
from storage.ledger.sealed import ERASED_PROBLEM, opened, sealed, sealed_text
from storage.ledger.sql import AnyRow, run
from storage.ledger.tables import batch, row_error

#: Spelled out and not bound, so that the partial index on open batches serves.
_OPEN = batch.c.phase != literal_column("'ended'")


@dataclass(frozen=True, kw_only=True)
class NewBatch:
    """One accepted manifest, by the upload that brought it."""

    id: str
    tenant: str
    bucket: str
    key: str
    version: str
    created_at: float
    recipe: str | None = None
    webhook_url: str | None = None
    webhook_events: str | None = None
    traceparent: str | None = None
    phase: str = "planning"


@dataclass(frozen=True, kw_only=True)
class RowError:
    """A manifest row that could not become a job; `problem` is the JSON of a `schemas.problem.Problem`."""

    row: int
    problem: str


def add(conn: Connection, new: NewBatch) -> None:
    conn.execute(insert(batch), sealed(conn, "batch", [vars(new)]))


def get(conn: Connection, *, tenant: str, id: str) -> AnyRow | None:
    query = select(batch).where(batch.c.id == id, batch.c.tenant == tenant)
    return next(iter(opened(conn, "batch", conn.execute(query))), None)


def in_phase(conn: Connection, *phases: str, limit: int = 100) -> Sequence[AnyRow]:
    """Open batches in one of the phases, oldest first."""
    return conn.execute(
        select(batch).where(_OPEN, batch.c.phase.in_(phases)).order_by(batch.c.id).limit(limit)
    ).all()


def complete(conn: Connection, limit: int = 20) -> Sequence[AnyRow]:
    """Open batches whose manifest is read to its end and whose images have all ended, oldest first."""
    ended = batch.c.rendered + batch.c.blocked + batch.c.failed + batch.c.canceled + batch.c.expired
    query = select(batch).where(_OPEN, batch.c.phase.in_(("planned", "finishing")), ended >= batch.c.total)
    return opened(conn, "batch", conn.execute(query.order_by(batch.c.id).limit(limit)))


def advance(
    conn: Connection, *, id: str, cursor: int, to: int, jobs: int, images: int, rejected: int
) -> bool:
    """Move the cursor past rows whose jobs this transaction adds; False when somebody else has moved it, or it is closed."""
    change = update(batch).where(batch.c.id == id, batch.c.cursor == cursor, batch.c.phase == "planning")
    values = {
        "cursor": to,
        "jobs": batch.c.jobs + jobs,
        "total": batch.c.total + images,
        "rejected_rows": batch.c.rejected_rows + rejected,
    }
    return bool(conn.execute(change.values(values)).rowcount)


def count(conn: Connection, *, id: str, rendered: int, blocked: int) -> None:
    """Add images that had ended when they were planned."""
    if rendered or blocked:
        values = {"rendered": batch.c.rendered + rendered, "blocked": batch.c.blocked + blocked}
        conn.execute(update(batch).where(batch.c.id == id).values(values))


def planned(conn: Connection, *, id: str, tenant: str, error: str | None = None) -> bool:
    """The manifest is read to its end, or `error` (JSON problem) says why not."""
    change = update(batch).where(batch.c.id == id, batch.c.phase == "planning")
    if error is not None:
        error = _sealed_error(conn, tenant, id, error)
    return bool(conn.execute(change.values(phase="planned", error=error)).rowcount)


def _sealed_error(conn: Connection, tenant: str, id: str, error: str) -> str:
    try:
        return sealed_text(conn, "batch", "error", error, tenant=tenant, row=id)
    except TenantErased:
        return ERASED_PROBLEM  # its batches end like all others


def finishing(conn: Connection, id: str) -> bool:
    """The results are being written."""
    return bool(
        conn.execute(
            update(batch).where(batch.c.id == id, batch.c.phase == "planned").values(phase="finishing")
        ).rowcount
    )


def end(
    conn: Connection,
    *,
    id: str,
    results_key: str | None,
    errors_key: str | None,
    now: float,
    near_duplicates: str | None = None,
) -> AnyRow | None:
    """Close the batch once: its row as it is now, or None when it was closed before."""
    change = update(batch).where(batch.c.id == id, _OPEN)
    values = {
        "phase": "ended",
        "results_key": results_key,
        "errors_key": errors_key,
        "near_duplicates": near_duplicates,
        "ended_at": now,
        "sequence": batch.c.sequence + 1,
    }
    return conn.execute(change.values(values).returning(batch)).first()


_BATCHES = tally_template("batch")


def tally(conn: Connection, ended: Iterable[Ended]) -> Sequence[AnyRow]:
    """Move the counters of the batches by images that have just ended; returns the batch rows as they are now."""
    rows = tally_rows((one.batch, one.state) for one in ended if one.batch is not None)
    return run(conn, _BATCHES, rows=rows).all() if rows != "[]" else []


def add_row_errors(conn: Connection, *, batch_id: str, tenant: str, errors: Sequence[RowError]) -> None:
    if errors:
        rows = [
            {"batch": batch_id, "tenant": tenant, "row": error.row, "problem": error.problem}
            for error in errors
        ]
        conn.execute(insert(row_error), sealed(conn, "row_error", rows))


def row_errors(conn: Connection, id: str, *, after: int = 0, count: int = 500) -> Sequence[AnyRow]:
    """One page of a batch's rejected rows: (row, problem), in the order of the manifest."""
    query = select(row_error).where(row_error.c.batch == id, row_error.c.row > after)
    return opened(conn, "row_error", conn.execute(query.order_by(row_error.c.row).limit(count)))

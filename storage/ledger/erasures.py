"""Erasures: asked for in one transaction, carried out in slices, and kept as a receipt of what was removed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, literal_column, select, text, update

from storage.ledger import tables
from storage.ledger.sealed import ERASED_PROBLEM, opened, sealed
from storage.ledger.sql import AnyRow
from storage.ledger.tables import erasure, idempotency, image, input_use, kept_input
from storage.ledger.words import drop_jobs

_OPEN = erasure.c.state != literal_column("'done'")
#: Images in these states may come to need the object of their digest, or need it now.
_NEEDING = ("planned", "released", "suspect", "held", "rendered")
#: Rows of a tenant that say nothing once everything else of it is gone.
_OF_TENANT = (
    "row_error",
    "delivery",
    "endpoint",
    "event",
    "idempotency",
    "adapter",
    "rotation",
    "input_use",
    "kept_input",
)


@dataclass(frozen=True, kw_only=True)
class NewErasure:
    """What is to be erased; an empty subject is everything of the tenant."""

    id: str
    tenant: str
    subject: str
    requested_at: float
    #: JSON list of the microbatches that may still store pictures of it.
    waits_for: str = "[]"
    #: JSON list of object keys that these would store.
    keys: str = "[]"
    state: str = "waiting"


def add(conn: Connection, new: NewErasure) -> None:
    """Note it; TenantErased is raised for a job or batch of an erased tenant, where nothing is left to erase."""
    rows = sealed(conn, "erasure", [vars(new)]) if new.subject else [vars(new)]
    conn.execute(insert(erasure), rows)


def of_subject(conn: Connection, *, tenant: str, subject: str) -> AnyRow | None:
    """The latest erasure of a job or batch, or of the tenant."""
    mine = (erasure.c.tenant == tenant) & (erasure.c.subject == subject)
    return conn.execute(select(erasure).where(mine).order_by(erasure.c.id.desc()).limit(1)).first()


def get(conn: Connection, *, tenant: str, id: str) -> AnyRow | None:
    return conn.execute(select(erasure).where(erasure.c.id == id, erasure.c.tenant == tenant)).first()


def unfinished(conn: Connection, limit: int = 20) -> Sequence[AnyRow]:
    """Oldest first."""
    return opened(
        conn, "erasure", conn.execute(select(erasure).where(_OPEN).order_by(erasure.c.id).limit(limit))
    )


def move(
    conn: Connection, id: str, *, state: str, removed: Mapping[str, int] | None = None, now: float
) -> None:
    """Note how far it has come; `removed` is added to what was counted before."""
    counts = Counter(
        json.loads(conn.execute(select(erasure.c.removed).where(erasure.c.id == id)).scalar_one())
    )
    counts.update(removed or {})
    values: dict[str, object] = {"state": state, "removed": json.dumps(dict(sorted(counts.items())))}
    if state == "done":
        values |= {"done_at": now, "keys": "[]", "waits_for": "[]"}
    conn.execute(update(erasure).where(erasure.c.id == id).values(values))


def still_out(conn: Connection, microbatches: Sequence[str]) -> bool:
    """Whether any of these microbatches has not been accounted for."""
    held = tables.microbatch.c.id.in_(microbatches)
    return (
        bool(microbatches)
        and conn.execute(select(tables.microbatch.c.id).where(held).limit(1)).first() is not None
    )


def in_flight(conn: Connection, of: ColumnElement[bool]) -> Sequence[AnyRow]:
    """Images that a worker may hold: with the tenant's words opened."""
    query = select(image).where(of, image.c.microbatch.is_not(None))
    return opened(conn, "image", conn.execute(query))


def of(tenant: str, subject: str) -> ColumnElement[bool]:
    """The images of a subject."""
    mine = image.c.tenant == tenant
    if subject.startswith("job_"):
        return mine & (image.c.job == subject)
    return mine & (image.c.batch == subject) if subject else mine


def remaining(conn: Connection, tenant: str, subject: str, limit: int) -> Sequence[AnyRow]:
    """Images of the subject that have not been erased: a digest says that objects may lie under it."""
    query = select(
        image.c.id, image.c.job, image.c.batch_key, image.c.digest, image.c.result, image.c.copy_key
    )
    return conn.execute(query.where(of(tenant, subject), image.c.digest != "").limit(limit)).all()


def lock_images(conn: Connection) -> None:
    """No image may be planned until this transaction ends. A write transaction on SQLite is alone anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("LOCK TABLE image IN SHARE ROW EXCLUSIVE MODE"))


def needed_elsewhere(conn: Connection, tenant: str, digests: Sequence[str], ids: Sequence[str]) -> set[str]:
    """Those digests whose objects an image of the tenant other than these needs, or may come to need."""
    others = (image.c.tenant == tenant) & image.c.digest.in_(digests) & image.c.id.not_in(ids)
    return set(conn.execute(select(image.c.digest).where(others, image.c.state.in_(_NEEDING))).scalars())


def blank_images(conn: Connection, rows: Sequence[AnyRow], now: float) -> None:
    """Leave of these images their ids, states and numbers; a digest could be compared with a guess."""
    gone = image.c.id.in_([row.id for row in rows])
    values = {"spec": "{}", "alt": "", "descriptions": "[]", "fairness": None, "digest": "", "result": None}
    conn.execute(update(image).where(gone).values(**values, copy_key=None, erased_at=now))
    drop_jobs(conn, sorted({row.job for row in rows}), now)


def blank_about(conn: Connection, tenant: str, subject: str, now: float) -> Counter[str]:
    """Remove webhook bodies and kept answers that tell of a job or batch, and a batch's own words."""
    removed: Counter[str] = Counter()
    jobs = [subject]
    if subject.startswith("bat_"):
        jobs += conn.execute(select(tables.job.c.id).where(tables.job.c.batch == subject)).scalars()
        errors = conn.execute(delete(tables.row_error).where(tables.row_error.c.batch == subject))
        removed["row_errors"] += errors.rowcount
        _blank_batch(conn, subject, now)
    for start in range(0, len(jobs), 500):
        removed.update(_blank_deliveries(conn, tenant, jobs[start : start + 500], now))
    mine = (idempotency.c.tenant == tenant) & idempotency.c.headers.contains(subject, autoescape=True)
    removed["answers"] += conn.execute(delete(idempotency).where(mine)).rowcount
    return +removed


def _blank_deliveries(conn: Connection, tenant: str, about: Sequence[str], now: float) -> Counter[str]:
    table = tables.delivery
    theirs = (table.c.tenant == tenant) & table.c.about.in_(about)
    owed = theirs & (table.c.state == "pending")
    conn.execute(update(table).where(owed).values(state="abandoned", last_error="erased", ended_at=now))
    full = theirs & (table.c.body != "")
    count = conn.execute(update(table).where(full).values(body="", erased_at=now)).rowcount
    return Counter(webhook_bodies=count)


def _blank_batch(conn: Connection, id: str, now: float) -> None:
    table = tables.batch
    values = {"key": "erased", "results_key": None, "errors_key": None, "erased_at": now}
    conn.execute(update(table).where(table.c.id == id).values(values))
    conn.execute(
        update(table).where(table.c.id == id, table.c.error.is_not(None)).values(error=ERASED_PROBLEM)
    )


def release_inputs(conn: Connection, tenant: str, owner: str, now: float) -> list[str]:
    """Pictures that only this job or batch needed, marked so that nobody begins to use them: to be removed now."""
    mine = (input_use.c.tenant == tenant) & (input_use.c.owner == owner)
    named = list(conn.execute(select(input_use.c.sha256).where(mine)).scalars())
    conn.execute(delete(input_use).where(mine))
    used = select(input_use.c.sha256).where(input_use.c.tenant == tenant, input_use.c.sha256.in_(named))
    free = kept_input.c.sha256.in_(named) & kept_input.c.sha256.not_in(used)
    change = update(kept_input).where(kept_input.c.tenant == tenant, free).values(removing_at=now)
    return list(conn.execute(change.returning(kept_input.c.sha256)).scalars())


def clear_tenant(conn: Connection, tenant: str, now: float) -> Counter[str]:
    """Remove the tenant's rows that say nothing without the others, and blank what is left."""
    removed: Counter[str] = Counter()
    for name in _OF_TENANT:
        table = tables.metadata.tables[name]
        removed[name] += conn.execute(delete(table).where(table.c.tenant == tenant)).rowcount
    batch, finetune, job = tables.batch, tables.finetune, tables.job
    values = {"key": "erased", "results_key": None, "errors_key": None, "webhook_url": None, "erased_at": now}
    conn.execute(update(batch).where(batch.c.tenant == tenant).values(values))
    told = (batch.c.tenant == tenant) & batch.c.error.is_not(None)
    conn.execute(update(batch).where(told).values(error=ERASED_PROBLEM))
    tuned = update(finetune).where(finetune.c.tenant == tenant)
    conn.execute(tuned.values(spec="{}", metadata="{}", result=None, webhook_url=None, erased_at=now))
    wordless = update(job).where(job.c.tenant == tenant)
    conn.execute(wordless.values(metadata="{}", row_key=None, webhook_url=None, erased_at=now))
    return +removed


def silence(conn: Connection, tenant: str) -> None:
    """Nobody is told of anything of the tenant any more: webhooks could not be sealed, and would say what is erased."""
    for table in (tables.job, tables.batch, tables.finetune):
        told = (table.c.tenant == tenant) & table.c.webhook_url.is_not(None)
        conn.execute(update(table).where(told).values(webhook_url=None))


def open_jobs(conn: Connection, tenant: str, limit: int = 50) -> list[str]:
    """Jobs of the tenant that have not ended."""
    query = select(tables.job.c.id).where(tables.job.c.tenant == tenant, tables.job.c.ended_at.is_(None))
    return list(conn.execute(query.limit(limit)).scalars())


def open_batches(conn: Connection, tenant: str) -> list[str]:
    query = select(tables.batch.c.id).where(
        tables.batch.c.tenant == tenant, tables.batch.c.phase == literal_column("'planning'")
    )
    return list(conn.execute(query).scalars())


def open_finetunes(conn: Connection, tenant: str) -> list[str]:
    table = tables.finetune
    query = select(table.c.id).where(
        table.c.tenant == tenant, table.c.state.in_(("queued", "released", "running"))
    )
    return list(conn.execute(query).scalars())


def held_images(conn: Connection, tenant: str, ids: Sequence[str]) -> list[str]:
    """Those of the images that were ever held for a review: something of them may lie in quarantine."""
    from storage.ledger.oversight_tables import review

    query = select(review.c.image).where(review.c.tenant == tenant, review.c.image.in_(ids))
    return list(conn.execute(query).scalars())

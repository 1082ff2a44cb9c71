"""Customers' words in rows that have ended: dropped when their days are over, sealed where an older installation left them
plain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, select, tuple_, update

from storage.ledger import tables
from storage.ledger.legal_holds import not_held
from storage.ledger.sealed import ERASED_PROBLEM, SEALED, blank_spec, columns, is_worth_sealing, sealed
from storage.ledger.sql import AnyRow
from storage.ledger.tenant_keys import is_erased
from storage.sealing import is_sealed

#: Tables whose rows an older installation may have left plain, by their keys. Answers to idempotent requests are not
#: among them: they live for a day.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "image": ("id",),
    "job": ("id",),
    "batch": ("id",),
    "row_error": ("batch", "row"),
    "delivery": ("id",),
    "finetune": ("id",),
}


def drop_expired(conn: Connection, before: float, now: float, limit: int = 500) -> Counter[str]:
    """Drop the words of up to `limit` rows of each kind that ended before then; how many rows of each."""
    dropped: Counter[str] = Counter()
    for name in ("image", "batch", "delivery", "finetune"):
        table: Table = getattr(tables, name)
        over = select(table).where(table.c.ended_at < before, table.c.erased_at.is_(None), not_held(table))
        rows = conn.execute(over.order_by(table.c.ended_at).limit(limit)).all()
        if rows:
            drop_of(conn, name, rows, now)
            dropped[name] = len(rows)
    return dropped


def drop_of(conn: Connection, name: str, rows: Sequence[AnyRow], now: float) -> None:
    """Drop the words of these rows of one table, and of what hangs on them."""
    {
        "image": _drop_images,
        "batch": _drop_batches,
        "delivery": _drop_deliveries,
        "finetune": _drop_finetunes,
    }[name](conn, rows, now)


def _drop_images(conn: Connection, rows: Sequence[AnyRow], now: float) -> None:
    change = (
        update(tables.image)
        .where(tables.image.c.id == bindparam("b_id"))
        .values(spec=bindparam("b_spec"), alt="", descriptions="[]", fairness=None, erased_at=now)
    )
    conn.execute(change, [{"b_id": row.id, "b_spec": blank_spec(row.batch_key)} for row in rows])
    drop_jobs(conn, sorted({row.job for row in rows}), now)


def drop_jobs(conn: Connection, ids: Sequence[str], now: float) -> None:
    """Drop the words of those jobs whose images have all lost theirs."""
    left = select(tables.image.c.id).where(
        tables.image.c.job == tables.job.c.id, tables.image.c.erased_at.is_(None)
    )
    empty = tables.job.c.id.in_(ids) & tables.job.c.ended_at.is_not(None) & ~left.exists()
    conn.execute(update(tables.job).where(empty).values(metadata="{}", row_key=None, erased_at=now))


def _drop_batches(conn: Connection, rows: Sequence[AnyRow], now: float) -> None:
    ids = [row.id for row in rows]
    conn.execute(delete(tables.row_error).where(tables.row_error.c.batch.in_(ids)))
    conn.execute(update(tables.batch).where(tables.batch.c.id.in_(ids)).values(erased_at=now))
    told = tables.batch.c.id.in_(ids) & tables.batch.c.error.is_not(None)
    conn.execute(update(tables.batch).where(told).values(error=ERASED_PROBLEM))


def _drop_deliveries(conn: Connection, rows: Sequence[AnyRow], now: float) -> None:
    mine = tables.delivery.c.id.in_([row.id for row in rows])
    conn.execute(update(tables.delivery).where(mine).values(body="", erased_at=now))


def _drop_finetunes(conn: Connection, rows: Sequence[AnyRow], now: float) -> None:
    mine = tables.finetune.c.id.in_([row.id for row in rows])
    conn.execute(update(tables.finetune).where(mine).values(spec="{}", metadata="{}", erased_at=now))


@dataclass(frozen=True, kw_only=True)
class Place:
    """How far the sealing of old rows has come: the table, and the key of the last row that was looked at."""

    table: str
    after: tuple[Any, ...] | None = None


FIRST = Place(table=next(iter(_KEYS)))


def seal_plain(conn: Connection, place: Place, limit: int = 500) -> tuple[int, Place | None]:
    """Seal what is plain among the next `limit` rows; how many were, and where to go on, None at the end."""
    table: Table = getattr(tables, place.table)
    keys = [table.c[name] for name in _KEYS[place.table]]
    wanted = [
        *keys,
        table.c.tenant,
        *(table.c[name] for name in SEALED[place.table] if table.c[name] not in keys),
    ]
    query = select(*wanted).order_by(*keys).limit(limit)
    if place.after is not None:
        query = query.where(tuple_(*keys) > tuple_(*place.after))
    rows = conn.execute(query).all()
    plain = [row for row in rows if _is_plain(row, place.table)]
    # Whose key was dropped is being erased: there is nothing to seal it with, and soon nothing to be sealed.
    gone = {tenant for tenant in {row.tenant for row in plain} if is_erased(conn, tenant)}
    plain = [row for row in plain if row.tenant not in gone]
    if plain:
        _seal(conn, table, plain)
    if len(rows) == limit:
        return len(plain), Place(table=place.table, after=tuple(rows[-1][: len(keys)]))
    names = list(_KEYS)
    later = names[names.index(place.table) + 1 :]
    return len(plain), Place(table=later[0]) if later else None


def _is_plain(row: AnyRow, table: str) -> bool:
    texts = (getattr(row, name) for name in SEALED[table])
    return any(is_worth_sealing(text) and not is_sealed(text) for text in texts)


def _seal(conn: Connection, table: Table, rows: Sequence[AnyRow]) -> None:
    words, keys = SEALED[table.name], _KEYS[table.name]
    change = (
        update(table)
        .where(and_(*(table.c[name] == bindparam(f"b_{name}") for name in keys)))
        .values({name: bindparam(f"w_{name}") for name in words})
    )
    made = sealed(conn, table.name, [columns(row) for row in rows], only_plain=True)
    bound = [
        {**{f"b_{name}": row[name] for name in keys}, **{f"w_{name}": row[name] for name in words}}
        for row in made
    ]
    conn.execute(change, bound)

"""The registry: what a tenant's adapter names stand for. Bytes lie in the tenant's results store, under their digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select, text, update

from storage.ledger.tables import adapter


@dataclass(frozen=True, kw_only=True)
class AdapterRow:
    """An adapter that its tenant may name in requests; times are Unix seconds."""

    tenant: str
    name: str
    #: SHA-256 of its adapter.json, which names the weights by theirs; the folder of both.
    digest: str
    #: The model that it was trained on, and the weights of that: it fits no others.
    model: str
    base_digest: str
    rank: int
    created_at: float
    #: The words that call it up; empty: it shows whenever it is named.
    trigger: str = ""
    #: The fine-tune that made it, if one of ours did.
    finetune: str | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)


_REGISTER = text(
    """INSERT INTO adapter (tenant, name, digest, model, base_digest, rank, "trigger", finetune, scores, created_at)
       VALUES (:tenant, :name, :digest, :model, :base_digest, :rank, :trigger, :finetune, :scores, :created_at)
       ON CONFLICT (tenant, name) DO UPDATE SET digest = excluded.digest, model = excluded.model,
         base_digest = excluded.base_digest, rank = excluded.rank, "trigger" = excluded."trigger", finetune = excluded.finetune, scores = excluded.scores,
         created_at = excluded.created_at, deleted_at = NULL"""
)


def register(conn: Connection, row: AdapterRow) -> None:
    """The name stands for this adapter from now on, whatever it stood for before."""
    conn.execute(_REGISTER, {**vars(row), "scores": json.dumps(dict(row.scores), sort_keys=True)})


def find(conn: Connection, tenant: str, name: str) -> AdapterRow | None:
    """What the name stands for; None when the tenant has no such adapter, whoever else may have one."""
    query = select(adapter).where(
        adapter.c.tenant == tenant, adapter.c.name == name, adapter.c.deleted_at.is_(None)
    )
    found = conn.execute(query).first()
    return None if found is None else _row(found)


def of_tenant(conn: Connection, tenant: str, *, after: str = "", limit: int = 1000) -> list[AdapterRow]:
    """A tenant's adapters by name; `after` is the last name of the page before."""
    kept = select(adapter).where(
        adapter.c.tenant == tenant, adapter.c.name > after, adapter.c.deleted_at.is_(None)
    )
    return [_row(found) for found in conn.execute(kept.order_by(adapter.c.name).limit(limit))]


def remove(conn: Connection, tenant: str, name: str, now: float) -> bool:
    """The name stands for nothing any more; False when it did not before.

    The bytes stay: images that were accepted with the adapter name it by its digest.
    """
    gone = update(adapter).where(
        adapter.c.tenant == tenant, adapter.c.name == name, adapter.c.deleted_at.is_(None)
    )
    return bool(conn.execute(gone.values(deleted_at=now)).rowcount)


def _row(found: Row[Any]) -> AdapterRow:
    values = {name: found._mapping[name] for name in AdapterRow.__dataclass_fields__}
    return AdapterRow(**{**values, "scores": json.loads(values["scores"])})

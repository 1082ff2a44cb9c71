"""Workers as their heartbeats describe them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, text

from storage.ledger.sql import as_json, run, statement


@dataclass(frozen=True, kw_only=True)
class WorkerRecord:
    """One worker; times are Unix seconds on the recorder's clock."""

    id: str
    pool: str
    queue: str
    #: Model name to digest.
    models: Mapping[str, str]
    accepting: bool
    first_seen_at: float
    seen_at: float
    #: When it went silent with work in its hands, if it has not been heard of since.
    lost_at: float | None = None


_BEAT = text(
    """INSERT INTO worker (id, pool, queue, models, accepting, first_seen_at, seen_at)
       VALUES (:id, :pool, :queue, :models, :accepting, :now, :now)
       ON CONFLICT (id) DO UPDATE SET pool = excluded.pool, queue = excluded.queue, models = excluded.models,
         accepting = excluded.accepting, seen_at = excluded.seen_at, lost_at = NULL"""
)


def beat(
    conn: Connection,
    *,
    id: str,
    pool: str,
    queue: str,
    models: Mapping[str, str],
    accepting: bool,
    now: float,
) -> None:
    """This worker lives."""
    models_json = json.dumps(dict(models), sort_keys=True)
    conn.execute(
        _BEAT,
        {"id": id, "pool": pool, "queue": queue, "models": models_json, "accepting": accepting, "now": now},
    )


_ALL = text(
    "SELECT id, pool, queue, models, accepting, first_seen_at, seen_at, lost_at FROM worker ORDER BY id"
)


def everyone(conn: Connection) -> list[WorkerRecord]:
    """Every worker of the last hour or so, dead or alive."""
    return [_record(row._mapping) for row in conn.execute(_ALL)]


@lru_cache(maxsize=1024)
def _models(text: str) -> Mapping[str, str]:
    # Every tick reads every worker, and nearly all announce the same models.
    return MappingProxyType(json.loads(text))


def _record(row: Mapping[Any, Any]) -> WorkerRecord:
    return WorkerRecord(**{**row, "models": _models(row["models"]), "accepting": bool(row["accepting"])})


_LOST = statement("UPDATE worker SET lost_at = :now WHERE id IN {ids} AND lost_at IS NULL")


def lost(conn: Connection, ids: Iterable[str], now: float) -> None:
    """These went silent with work in their hands."""
    run(conn, _LOST, ids=as_json(ids), now=now)


_FORGET = text("DELETE FROM worker WHERE seen_at < :before AND id NOT IN (SELECT worker FROM microbatch)")


def forget(conn: Connection, before: float) -> int:
    """Drop workers that were last seen before then and hold nothing."""
    return conn.execute(_FORGET, {"before": before}).rowcount

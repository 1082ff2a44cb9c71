"""Trainers as their heartbeats describe them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, text, update

from storage.ledger.tables import trainer


@dataclass(frozen=True, kw_only=True)
class TrainerRecord:
    """One trainer; times are Unix seconds on the recorder's clock."""

    id: str
    queue: str
    #: Model name to digest.
    models: Mapping[str, str]
    accepting: bool
    #: The run in its hands, as far as it has said.
    run: str | None
    seen_at: float


_BEAT = text(
    """INSERT INTO trainer (id, queue, models, accepting, run, seen_at)
       VALUES (:id, :queue, :models, :accepting, :run, :seen_at)
       ON CONFLICT (id) DO UPDATE SET queue = excluded.queue, models = excluded.models,
         accepting = excluded.accepting, run = excluded.run, seen_at = excluded.seen_at"""
)


def beat(conn: Connection, record: TrainerRecord) -> None:
    """This trainer lives."""
    conn.execute(_BEAT, {**vars(record), "models": json.dumps(dict(record.models), sort_keys=True)})


def let_go(conn: Connection, *, id: str, run: str) -> None:
    """The run has left its hands."""
    conn.execute(update(trainer).where(trainer.c.id == id, trainer.c.run == run).values(run=None))


def everyone(conn: Connection) -> list[TrainerRecord]:
    """Every trainer of the last hour or so, dead or alive."""
    rows = conn.execute(select(trainer).order_by(trainer.c.id))
    return [
        TrainerRecord(**{**row._mapping, "models": json.loads(row.models), "accepting": bool(row.accepting)})
        for row in rows
    ]


def forget(conn: Connection, before: float) -> int:
    """Drop trainers that were last seen before then."""
    return conn.execute(delete(trainer).where(trainer.c.seen_at < before)).rowcount

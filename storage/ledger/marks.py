"""How far a reader of a queue has come, so that silence can be told from deafness."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

#: The recorder's mark on the queue of outcomes.
OUTCOMES = "outcomes"


class Mark(NamedTuple):
    """From `since` to `at` the reader kept up with its queue; Unix seconds."""

    since: float
    at: float


_MOVE = text(
    """INSERT INTO mark (name, since, at) VALUES (:name, :since, :at)
       ON CONFLICT (name) DO UPDATE SET since = excluded.since, at = excluded.at"""
)


def move(conn: Connection, name: str, mark: Mark) -> None:
    conn.execute(_MOVE, {"name": name, "since": mark.since, "at": mark.at})


def get(conn: Connection, name: str) -> Mark | None:
    row = conn.execute(text("SELECT since, at FROM mark WHERE name = :name"), {"name": name}).first()
    return None if row is None else Mark(*row)

"""Images that were drawn and wait for a reviewer: open, though no worker will touch them again."""

# ruff: noqa: S608  (constants are put together, never values)

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.ledger.images import OPEN, Ended, Ending
from storage.ledger.sql import as_json, run, statement

_ROWS = "image_id text, image_digest text, end_state text, outcome text"
_HOLD = statement(
    f"""UPDATE image SET state = 'held', result = v.outcome, microbatch = NULL
        FROM {{rows}} AS v WHERE image.id = v.image_id AND image.digest = v.image_digest AND {OPEN}
        RETURNING id, job, batch, state""",
    rows=_ROWS,
)
_SETTLE = statement(
    """UPDATE image SET state = v.end_state, result = v.outcome, ended_at = :now
       FROM {rows} AS v WHERE image.id = v.image_id AND image.digest = v.image_digest AND image.state = 'held'
       RETURNING id, job, batch, state""",
    rows=_ROWS,
)
# Through the index on held images, of which there are few however large the batch.
_COUNT = {
    column: statement(f"SELECT count(*) FROM image WHERE state = 'held' AND {column} = :owner")
    for column in ("job", "batch")
}


def hold(conn: Connection, holdings: Sequence[Ending]) -> list[Ended]:
    """Keep images apart that a worker's report may still change; returns those that changed, which have not ended."""
    if not holdings:
        return []
    first = {holding.id: holding for holding in reversed(holdings)}
    return [Ended(*row) for row in run(conn, _HOLD, rows=as_json(first.values()))]


def settle(conn: Connection, endings: Sequence[Ending], now: float) -> list[Ended]:
    """End images that are held, in any way, as a reviewer decided; returns those that changed."""
    if not endings:
        return []
    return [Ended(*row) for row in run(conn, _SETTLE, rows=as_json(endings), now=now)]


def of_job(conn: Connection, job: str) -> int:
    """How many images of a job wait for a reviewer."""
    return int(run(conn, _COUNT["job"], owner=job).scalar_one())


def of_batch(conn: Connection, batch: str) -> int:
    """How many images of a batch wait for a reviewer."""
    return int(run(conn, _COUNT["batch"], owner=batch).scalar_one())

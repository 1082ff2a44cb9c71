"""Microbatches: rows that exist only while a worker owes their outcome."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, text

from storage.ledger.sql import as_json, run, statement
from storage.ledger.tables import microbatch


@dataclass(frozen=True, kw_only=True)
class NewMicrobatch:
    id: str
    worker: str
    batch_key: str
    #: JSON list of image ids.
    images: str
    solo: bool
    expected_seconds: float
    released_at: float
    lease_until: float
    good_until: float


class Outstanding(NamedTuple):
    """A microbatch that has not been accounted for; times are Unix seconds."""

    id: str
    worker: str
    batch_key: str
    solo: bool
    expected_seconds: float
    released_at: float
    started_at: float | None
    gpu_done_at: float | None
    lease_until: float


class Contents(NamedTuple):
    id: str
    worker: str
    solo: bool
    started: bool
    images: tuple[str, ...]


def add(conn: Connection, rows: Sequence[NewMicrobatch]) -> None:
    if rows:
        conn.execute(insert(microbatch), [vars(row) for row in rows])


_OUTSTANDING = text(
    """SELECT id, worker, batch_key, solo, expected_seconds, released_at, started_at, gpu_done_at, lease_until
       FROM microbatch ORDER BY released_at, id"""
)


def outstanding(conn: Connection) -> list[Outstanding]:
    """All of them, in the order they were released: a few per worker."""
    return [Outstanding(*row) for row in conn.execute(_OUTSTANDING)]


_CONTENTS = statement("SELECT id, worker, solo, started_at, images FROM microbatch WHERE id IN {ids}")


def contents(conn: Connection, ids: Iterable[str]) -> dict[str, Contents]:
    """What the named ones hold; those already accounted for are left out."""
    found = run(conn, _CONTENTS, ids=as_json(ids))
    return {
        row.id: Contents(
            row.id, row.worker, bool(row.solo), row.started_at is not None, tuple(json.loads(row.images))
        )
        for row in found
    }


# The worker's clock may be wrong: a start lies between the release and the moment it was recorded.
_STARTED = statement(
    """UPDATE microbatch SET started_at = CASE WHEN v.moment < released_at THEN released_at WHEN v.moment > :now THEN :now ELSE v.moment END
       FROM {rows} AS v WHERE microbatch.id = v.name AND microbatch.started_at IS NULL""",
    rows="name text, moment double precision",
)


def started(conn: Connection, moments: Mapping[str, float], now: float) -> None:
    """Note when microbatches reached a GPU."""
    if moments:
        run(conn, _STARTED, rows=as_json(sorted(moments.items())), now=now)


_GPU_DONE = statement("UPDATE microbatch SET gpu_done_at = :now WHERE id IN {ids} AND gpu_done_at IS NULL")


def gpu_done(conn: Connection, ids: Iterable[str], now: float) -> None:
    """Note that microbatches have left the GPU, which frees their place in the window."""
    run(conn, _GPU_DONE, ids=as_json(ids), now=now)


_LISTED = statement("UPDATE microbatch SET lease_until = :until WHERE id IN {ids} AND lease_until < :until")


def listed(conn: Connection, ids: Iterable[str], until: float) -> None:
    """A heartbeat has listed them: they are held until then at least."""
    run(conn, _LISTED, ids=as_json(ids), until=until)


_DELETE = statement("DELETE FROM microbatch WHERE id IN {ids}")


def delete(conn: Connection, ids: Iterable[str]) -> int:
    """All their images are accounted for."""
    return run(conn, _DELETE, ids=as_json(ids)).rowcount


_KEYS = statement("SELECT id, batch_key FROM microbatch WHERE id IN {ids}")


def batch_keys(conn: Connection, ids: Iterable[str]) -> dict[str, Any]:
    """The batch key of each microbatch that is still outstanding."""
    return {row.id: row.batch_key for row in run(conn, _KEYS, ids=as_json(ids))}

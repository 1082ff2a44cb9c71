"""Images: added in bulk, claimed by the ready index, put back, and ended exactly once."""

# ruff: noqa: S608  (constants are put together, never values)

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from schemas.errors import SealBroken
from schemas.states import ImageState, Lane
from storage.ledger.sealed import BLANK, SEALED, columns, open_text, opened, sealed
from storage.ledger.sql import AnyRow, as_json, run, statement
from storage.ledger.tables import NO_DEADLINE, image

#: The place of a lane in this tuple is its number in the table: lower goes first.
LANES = (Lane.INTERACTIVE, Lane.BULK)


@dataclass(frozen=True, kw_only=True)
class NewImage:
    """One picture to be made, or one that ended the moment it was planned. Times are Unix seconds."""

    id: str
    tenant: str
    job: str
    lane: int
    batch_key: str
    digest: str
    #: JSON of the `RenderSpec`.
    spec: str
    created_at: float
    batch: str | None = None
    alt: str = ""
    lang: str = "en"
    copy_key: str | None = None
    state: str = ImageState.PLANNED.value
    deadline: float = NO_DEADLINE
    start_by: float | None = None
    #: JSON of the outcome, for an image that has ended already.
    result: str | None = None
    ended_at: float | None = None
    #: JSON list of descriptions, and JSON of the variation by which its prompt differs from the request's.
    descriptions: str = "[]"
    fairness: str | None = None


class Claimed(NamedTuple):
    """What a claim hands to the worker; an empty spec is one that cannot be read any more."""

    id: str
    tenant: str
    job: str
    digest: str
    spec: str
    alt: str
    lang: str
    copy_key: str | None
    descriptions: str
    fairness: str | None
    traceparent: str | None
    #: JSON of the prompt's verdict, and JSON list of the verdicts about the pictures that the request brought.
    prompt_verdict: str | None = None
    upload_verdicts: str | None = None


class Head(NamedTuple):
    """The image of a (lane, tenant, batch key) that goes first."""

    lane: int
    tenant: str
    batch_key: str
    deadline: float
    id: str


class Suspect(NamedTuple):
    id: str
    lane: int
    tenant: str
    batch_key: str
    #: The workers that died with it.
    deaths: tuple[str, ...]


class Held(NamedTuple):
    """An image in the hands of a worker that has gone."""

    id: str
    digest: str
    attempts: int
    deaths: tuple[str, ...]


class Ending(NamedTuple):
    """How one image ends, for `settle`; taken only if the digest is the image's own."""

    id: str
    digest: str
    state: ImageState
    #: JSON of the outcome.
    result: str | None


class Ended(NamedTuple):
    """One image that has just ended, so that counters move by it once."""

    id: str
    job: str
    batch: str | None
    state: str


def add(conn: Connection, images: Sequence[NewImage]) -> None:
    if images:
        conn.execute(insert(image), sealed(conn, "image", (vars(new) for new in images)))


_OF_JOB = ", ".join(
    f"(SELECT {name} FROM job WHERE job.id = image.job) AS {name}"
    for name in ("traceparent", "prompt_verdict", "upload_verdicts")
)
_CLAIMED = f"id, tenant, job, digest, spec, alt, lang, copy_key, descriptions, fairness, {_OF_JOB}"
# state is spelled out and not bound: only then is the partial index usable by both planners.
CLAIM = {
    **statement(
        f"""UPDATE image SET state = 'released', microbatch = :microbatch WHERE id IN (
              SELECT id FROM image WHERE state = 'planned' AND lane = :lane AND tenant = :tenant AND batch_key = :batch_key
              ORDER BY deadline, id LIMIT :count)
            RETURNING {_CLAIMED}"""
    ),
    # An array and not IN: PostgreSQL then takes the sub-select, with its row locks, as one step before the update.
    "postgresql": statement(
        f"""UPDATE image SET state = 'released', microbatch = :microbatch WHERE id = ANY(ARRAY(
              SELECT id FROM image WHERE state = 'planned' AND lane = :lane AND tenant = :tenant AND batch_key = :batch_key
              ORDER BY deadline, id LIMIT :count {{skip_locked}}))
            RETURNING {_CLAIMED}"""
    )["postgresql"],
}


def claim(
    conn: Connection, *, lane: int, tenant: str, batch_key: str, count: int, microbatch: str
) -> list[Claimed]:
    """Release up to `count` planned images, earliest deadline first, then in the order they were planned."""
    rows = run(conn, CLAIM, lane=lane, tenant=tenant, batch_key=batch_key, count=count, microbatch=microbatch)
    return _claimed(conn, rows.all())


_CLAIM_SUSPECT = statement(
    f"UPDATE image SET state = 'released', microbatch = :microbatch WHERE id = :id AND state = 'suspect' RETURNING {_CLAIMED}"
)


def claim_suspect(conn: Connection, *, id: str, microbatch: str) -> list[Claimed]:
    """Release one suspect alone; empty when it has ended meanwhile."""
    return _claimed(conn, run(conn, _CLAIM_SUSPECT, id=id, microbatch=microbatch).all())


def _claimed(conn: Connection, rows: Sequence[AnyRow]) -> list[Claimed]:
    """Opened one by one: a single row that was tampered with must not hold up its tenant, let alone the others."""
    return [_readable(conn, row) for row in rows]


def _readable(conn: Connection, row: AnyRow) -> Claimed:
    found = Claimed(*row)
    try:
        words: dict[str, Any] = {
            name: _opened_word(conn, found, name, getattr(found, name)) for name in SEALED["image"]
        }
    except SealBroken:
        return found._replace(spec="")
    found = found._replace(**words)
    return found._replace(spec="") if found.spec in _DROPPED else found


def _opened_word(conn: Connection, row: Claimed, name: str, text: str | None) -> str | None:
    if text is None:
        return None
    plain = open_text(conn, "image", name, text, tenant=row.tenant, row=row.id)
    return BLANK.get(name) if plain is None else plain


#: Specs without a prompt: what the sweep and a dropped key leave behind.
_DROPPED = frozenset({"", "{}"})


_SUSPECTS = statement(
    "SELECT id, lane, tenant, batch_key, deaths FROM image WHERE state = 'suspect' ORDER BY id LIMIT :count"
)


def suspects(conn: Connection, count: int) -> list[Suspect]:
    rows = run(conn, _SUSPECTS, count=count)
    return [
        Suspect(row.id, row.lane, row.tenant, row.batch_key, tuple(json.loads(row.deaths))) for row in rows
    ]


_HEAD = "SELECT lane, tenant, batch_key, deadline, id FROM image WHERE state = 'planned' {after} ORDER BY lane, tenant, batch_key, deadline, id LIMIT 1"
# SQLite runs the row-value comparison "(lane, tenant, batch_key) > (...)" as a scan, so it gets three seeks per key.
_SEEKS = tuple(
    statement(_HEAD.replace("{after}", after))["sqlite"]
    for after in (
        "AND lane = :lane AND tenant = :tenant AND batch_key > :batch_key",
        "AND lane = :lane AND tenant > :tenant",
        "AND lane > :lane",
    )
)
_FIRST = statement(_HEAD.replace("{after}", ""))["sqlite"]
_SKIP_SCAN = statement(
    f"""WITH RECURSIVE head AS (
          ({_HEAD.replace("{after}", "")})
          UNION ALL
          SELECT next.* FROM head, LATERAL (
            {_HEAD.replace("{after}", "AND (lane, tenant, batch_key) > (head.lane, head.tenant, head.batch_key)")}) next)
        SELECT lane, tenant, batch_key, deadline, id FROM head"""
)["postgresql"]


def heads(conn: Connection) -> list[Head]:
    """Every (lane, tenant, batch key) that has planned images: a few index seeks each, whatever the backlog behind it."""
    if conn.dialect.name == "postgresql":
        return [Head(*row) for row in conn.execute(_SKIP_SCAN)]
    found = []
    row: AnyRow | None = conn.execute(_FIRST).first()
    while row is not None:
        found.append(Head(*row))
        row = _after(conn, found[-1])
    return found


def _after(conn: Connection, head: Head) -> AnyRow | None:
    values = head._asdict()
    for seek in _SEEKS:
        row = conn.execute(seek, values).first()
        if row is not None:
            return row
    return None


_WAITING = statement(
    """SELECT count(*) FROM (SELECT 1 FROM image
         WHERE state = 'planned' AND lane = :lane AND tenant = :tenant AND batch_key = :batch_key LIMIT :most) AS few"""
)


def waiting(conn: Connection, *, lane: int, tenant: str, batch_key: str, most: int) -> int:
    """How many planned images there are, counted no further than `most`."""
    return int(run(conn, _WAITING, lane=lane, tenant=tenant, batch_key=batch_key, most=most).scalar_one())


_PUT_BACK = statement(
    """UPDATE image SET state = 'planned', microbatch = NULL
       WHERE id IN {ids} AND state = 'released' AND microbatch = :microbatch"""
)


def put_back(conn: Connection, *, microbatch: str, ids: Iterable[str]) -> int:
    """Plan images again that this microbatch will not render, without counting an attempt."""
    return run(conn, _PUT_BACK, ids=as_json(ids), microbatch=microbatch).rowcount


_RETRY = statement(
    """UPDATE image SET state = 'planned', microbatch = NULL, attempts = attempts + 1
       WHERE id IN {ids} AND state = 'released' AND microbatch = :microbatch AND attempts + 1 < :most RETURNING id"""
)


def retry(conn: Connection, *, microbatch: str, ids: Iterable[str], most: int) -> set[str]:
    """Plan images again after a failure that may pass, unless it was their attempt number `most`."""
    return {row.id for row in run(conn, _RETRY, ids=as_json(ids), microbatch=microbatch, most=most)}


_HELD = statement(
    "SELECT id, digest, attempts, deaths FROM image WHERE id IN {ids} AND state = 'released' AND microbatch = :microbatch"
)


def held(conn: Connection, *, microbatch: str, ids: Iterable[str]) -> list[Held]:
    """Those of `ids` that the ledger still believes to be in that microbatch."""
    rows = run(conn, _HELD, ids=as_json(ids), microbatch=microbatch)
    return [Held(row.id, row.digest, row.attempts, tuple(json.loads(row.deaths))) for row in rows]


_SUSPECT = statement(
    """UPDATE image SET state = 'suspect', microbatch = NULL, attempts = v.attempts, deaths = v.deaths
       FROM {rows} AS v WHERE image.id = v.id AND image.state = 'released' AND image.microbatch = :microbatch""",
    rows="id text, attempts integer, deaths text",
)


def suspect(conn: Connection, *, microbatch: str, images: Iterable[Held]) -> None:
    """Mark images that were on a GPU when its worker went, with the attempts and deaths given."""
    rows = as_json((one.id, one.attempts, json.dumps(one.deaths)) for one in images)
    run(conn, _SUSPECT, rows=rows, microbatch=microbatch)


#: What a worker's report may still change, and what a customer may still cancel.
OPEN = "state IN ('planned', 'released', 'suspect')"
_UNENDED = "state IN ('planned', 'released', 'suspect', 'held')"
_SETTLE = statement(
    f"""UPDATE image SET state = v.end_state, result = v.outcome, ended_at = :now, microbatch = NULL
        FROM {{rows}} AS v WHERE image.id = v.image_id AND image.digest = v.image_digest
          AND ({OPEN} OR image.state = 'held' AND v.end_state = 'rendered')
        RETURNING id, job, batch, state""",
    rows="image_id text, image_digest text, end_state text, outcome text",
)


def settle(conn: Connection, endings: Sequence[Ending], now: float) -> list[Ended]:
    """End images that are still open; returns only those that changed, so that what arrives twice counts once.

    A held image ends by this as rendered alone: its picture, which only a permission could store, has been published.
    """
    if not endings:
        return []
    # Of two endings of one image in one call the earlier one stands.
    first = {ending.id: ending for ending in reversed(endings)}
    return [Ended(*row) for row in run(conn, _SETTLE, rows=as_json(first.values()), now=now)]


_CANCEL = {
    column: statement(
        f"UPDATE image SET state = 'canceled', ended_at = :now, microbatch = NULL WHERE {column} = :owner AND {_UNENDED} RETURNING id, job, batch, state"
    )
    for column in ("job", "batch")
}


def cancel_job(conn: Connection, job: str, now: float) -> list[Ended]:
    """Cancel all of a job that has not ended; a picture on the GPU is finished and then dropped."""
    return [Ended(*row) for row in run(conn, _CANCEL["job"], owner=job, now=now)]


def cancel_batch(conn: Connection, batch: str, now: float) -> list[Ended]:
    return [Ended(*row) for row in run(conn, _CANCEL["batch"], owner=batch, now=now)]


_LATE = """SELECT image.id FROM image LEFT JOIN microbatch ON microbatch.id = image.microbatch
           WHERE image.state IN ('planned', 'released') AND image.start_by IS NOT NULL AND image.start_by < :now
             AND microbatch.started_at IS NULL LIMIT :count"""
_EXPIRE = statement(
    f"""UPDATE image SET state = 'expired', ended_at = :now, microbatch = NULL
        WHERE id IN ({_LATE}) AND state IN ('planned', 'released') RETURNING id, job, batch, state"""
)
_ANY_LATE = statement(_LATE)


def any_late(conn: Connection, now: float) -> bool:
    """Whether `expire` would find something; for a read transaction."""
    return run(conn, _ANY_LATE, now=now, count=1).first() is not None


def expire(conn: Connection, now: float, count: int = 1000) -> list[Ended]:
    """End up to `count` images that had to start by now and have not."""
    return [Ended(*row) for row in run(conn, _EXPIRE, now=now, count=count)]


_RENDERED = statement(
    "SELECT digest, result FROM image WHERE tenant = :tenant AND digest IN {ids} AND state = 'rendered' AND result IS NOT NULL"
)


def rendered_before(conn: Connection, *, tenant: str, digests: Iterable[str]) -> dict[str, str]:
    """The stored outcome of each digest that this tenant has had rendered."""
    return {row.digest: row.result for row in run(conn, _RENDERED, tenant=tenant, ids=as_json(set(digests)))}


_SUMMARY = (
    image.c.id,
    image.c.tenant,
    image.c.job,
    image.c.state,
    image.c.digest,
    image.c.spec,
    image.c.alt,
    image.c.copy_key,
    image.c.result,
    image.c.descriptions,
    image.c.fairness,
    image.c.erased_at,
)


def of_job(conn: Connection, job: str, limit: int = 1000) -> Sequence[AnyRow]:
    """The images of a job in the order they were planned: (id, job, state, digest, spec, alt, copy_key, result)."""
    query = select(*_SUMMARY).where(image.c.job == job).order_by(image.c.id).limit(limit)
    return opened(conn, "image", conn.execute(query))


def some(conn: Connection, ids: Sequence[str]) -> Sequence[AnyRow]:
    """Images by id, with the columns of `of_job`."""
    query = select(*_SUMMARY).where(image.c.id.in_(ids)).order_by(image.c.id)
    return opened(conn, "image", conn.execute(query))


def get(conn: Connection, *, tenant: str, id: str) -> AnyRow | None:
    """The whole row of one of the tenant's images."""
    query = select(image).where(image.c.id == id, image.c.tenant == tenant)
    return next(iter(opened(conn, "image", conn.execute(query))), None)


_OF_BATCH = statement(
    """SELECT image.id, image.tenant, image.job, image.state, image.digest, image.spec, image.alt, image.copy_key, image.result,
              image.descriptions, image.fairness, image.erased_at, job.row, job.row_key
       FROM image JOIN job ON job.id = image.job WHERE image.batch = :batch AND image.id > :after ORDER BY image.id LIMIT :count"""
)


def of_batch(conn: Connection, batch: str, *, after: str = "", count: int = 500) -> Sequence[AnyRow]:
    """One page of a batch's images in the order they were planned, each with its manifest row."""
    rows = opened(conn, "image", run(conn, _OF_BATCH, batch=batch, after=after, count=count))
    return [_with_row_key(conn, row) for row in rows]


def _with_row_key(conn: Connection, row: AnyRow) -> AnyRow:
    """A row with the key of its manifest row in clear, which is sealed as a part of its job."""
    if row.row_key is None:
        return row
    plain = open_text(conn, "job", "row_key", row.row_key, tenant=row.tenant, row=row.job)
    return row if plain == row.row_key else SimpleNamespace(**{**columns(row), "row_key": plain})

"""Released images drawn at random, for people to review."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from storage.ledger.sql import as_json, run, statement

_PAGE = 5000
_JOBS = statement(
    """SELECT job.id FROM job WHERE job.id > :after AND job.rendered > 0 AND job.created_at >= :since
       ORDER BY job.id LIMIT :page"""
)
_IMAGES = statement(
    """SELECT image.id, image.tenant, image.job, image.result FROM image
       WHERE image.job IN {ids} AND image.state = 'rendered' AND image.result IS NOT NULL ORDER BY image.id"""
)


@dataclass(frozen=True, kw_only=True)
class Released:
    """One published image."""

    image: str
    tenant: str
    #: Images of one job share a prompt, so that they are not independent.
    job: str
    key: str


def draw(conn: Connection, *, count: int, since: float, seed: int) -> list[Released]:
    """Up to `count` released images of as many jobs since a moment (Unix seconds), every job as likely as any other.

    The same ledger and seed give the same draw; one pass over the jobs, in constant memory (reservoir sampling:
    Vitter 1985, algorithm R).
    """
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    kept: list[str] = []
    for number, job in enumerate(_jobs(conn, since)):
        if number < count:
            kept.append(job)
        elif (place := chance.randrange(number + 1)) < count:
            kept[place] = job
    by_job: dict[str, list[Released]] = {}
    for row in run(conn, _IMAGES, ids=as_json(sorted(kept))):
        stored = json.loads(row.result)["stored"]
        found = Released(image=row.id, tenant=row.tenant, job=row.job, key=stored["key"])
        by_job.setdefault(row.job, []).append(found)
    return [chance.choice(by_job[job]) for job in sorted(by_job)]


def _jobs(conn: Connection, since: float) -> Iterator[str]:
    after = ""
    while page := [row.id for row in run(conn, _JOBS, after=after, since=since, page=_PAGE)]:
        yield from page
        after = page[-1]

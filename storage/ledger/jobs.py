"""Jobs: one accepted request each, with counters that move only by images that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from storage.ledger.images import Ended
from storage.ledger.sealed import opened, sealed
from storage.ledger.sql import AnyRow, as_json, run, statement
from storage.ledger.tables import job

#: The final states that have a counter, in the order of the columns.
COUNTED = ("rendered", "blocked", "failed", "canceled", "expired")


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """One accepted request; the counters name images that ended the moment they were planned."""

    id: str
    tenant: str
    total: int
    created_at: float
    batch: str | None = None
    row: int | None = None
    row_key: str | None = None
    recipe: str | None = None
    #: JSON of the prompt's verdict.
    prompt_verdict: str | None = None
    #: JSON list of the verdicts about the pictures it brought.
    upload_verdicts: str | None = None
    rendered: int = 0
    blocked: int = 0
    sequence: int = 0
    webhook_url: str | None = None
    #: JSON list of event types.
    webhook_events: str | None = None
    metadata: str = "{}"
    traceparent: str | None = None
    ended_at: float | None = None


def add(conn: Connection, jobs: Sequence[NewJob]) -> None:
    if jobs:
        conn.execute(insert(job), sealed(conn, "job", (vars(new) for new in jobs)))


_TALLY = """UPDATE {table} SET rendered = rendered + v.n_rendered, blocked = blocked + v.n_blocked, failed = failed + v.n_failed,
       canceled = canceled + v.n_canceled, expired = expired + v.n_expired, sequence = sequence + v.events{more}
   FROM {{rows}} AS v WHERE {table}.id = v.owner
   RETURNING *"""
_OWNER = "owner text, n_rendered integer, n_blocked integer, n_failed integer, n_canceled integer, n_expired integer, events integer"
_JOBS = statement(
    _TALLY.format(
        table="job",
        more=""", ended_at = CASE WHEN rendered + blocked + failed + canceled + expired
            + v.n_rendered + v.n_blocked + v.n_failed + v.n_canceled + v.n_expired >= total THEN :now ELSE ended_at END""",
    ),
    rows=_OWNER,
)


def tally(conn: Connection, ended: Iterable[Ended], now: float) -> Sequence[AnyRow]:
    """Move the counters of the jobs by images that have just ended; returns the job rows as they are now.

    `sequence` grows by one per image and one for the job, so that each event of the job can have its own number.
    """
    rows = tally_rows((one.job, one.state) for one in ended)
    return opened(conn, "job", run(conn, _JOBS, rows=rows, now=now)) if rows != "[]" else []


def tally_rows(pairs: Iterable[tuple[str, str]]) -> str:
    """JSON rows (owner, a count per final state, number of events), sorted so that two writers cannot deadlock."""
    counts: dict[str, Counter[str]] = {}
    for owner, state in pairs:
        counts.setdefault(owner, Counter())[state] += 1
    return as_json(
        [owner, *(counts[owner][name] for name in COUNTED), counts[owner].total() + 1]
        for owner in sorted(counts)
    )


def tally_template(table: str, more: str = "") -> Any:
    """The same statement for the counters of another table."""
    return statement(_TALLY.format(table=table, more=more), rows=_OWNER)


def counts(row: AnyRow) -> Mapping[str, int]:
    """The counters of a job or batch row by state name."""
    return {name: getattr(row, name) for name in COUNTED}


def get(conn: Connection, *, tenant: str, id: str) -> AnyRow | None:
    query = select(job).where(job.c.id == id, job.c.tenant == tenant)
    return next(iter(opened(conn, "job", conn.execute(query))), None)


def of_tenant(
    conn: Connection, tenant: str, *, before: str | None = None, limit: int = 100
) -> Sequence[AnyRow]:
    """A tenant's jobs, newest first; `before` is the last id of the page before."""
    query = select(job).where(job.c.tenant == tenant).order_by(job.c.id.desc()).limit(limit)
    return opened(conn, "job", conn.execute(query if before is None else query.where(job.c.id < before)))

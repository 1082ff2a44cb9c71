"""The audit log: one chain of hashes over everything that was decided about pictures and tenants.

Each row's hash covers its content and the hash before it, so that a row that was changed, removed, added or moved is
found. Whoever can write the whole table can also write another whole chain: the root that is exported every day to a
store of its own stands against that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, literal_column, select, update

from schemas.canonical import canonical, digest
from storage.ledger.oversight_tables import audit, audit_head

#: What the first row follows.
GENESIS = "0" * 64
_PAGE = 1000
#: Spelled out and not bound, so that the partial index serves.
_ABOUT_POLICIES = audit.c.kind.in_(
    [literal_column("'policy.installed'"), literal_column("'policy.withdrawn'")]
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to be remembered: ids, codes and digests, never a prompt, a link or a secret."""

    #: E.g. "image.blocked", "review.released", "tenant.suspended".
    kind: str
    actor: str
    tenant: str | None = None
    about: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row as it lies in the ledger; `at` is Unix seconds."""

    seq: int
    at: float
    kind: str
    actor: str
    tenant: str | None
    about: str | None
    data: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Root:
    """The end of the chain at one moment: what it says of all before it can be checked later."""

    seq: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first place at which the chain does not hold."""

    seq: int
    what: str


def append(conn: Connection, entries: Sequence[Entry], now: float) -> None:
    """Add entries in their order, in the caller's transaction: numbers have no gap, whoever else appends.

    Call it last in a transaction: it holds the end of the chain until the commit, and whoever waited for other rows
    after that could wait for somebody who waits for the chain.
    """
    if not entries:
        return
    # The update takes the row's lock: of two transactions the second reads what the first has committed.
    change = update(audit_head).where(audit_head.c.id == 1).values(seq=audit_head.c.seq + len(entries))
    end = conn.execute(change.returning(audit_head.c.seq, audit_head.c.hash)).one()
    previous, rows = end.hash, []
    for number, entry in enumerate(entries, end.seq - len(entries) + 1):
        row = _row(number, entry, now, previous)
        rows.append(row)
        previous = row["hash"]
    conn.execute(insert(audit), rows)
    conn.execute(update(audit_head).where(audit_head.c.id == 1).values(hash=previous))


def wait_for_turn(conn: Connection) -> None:
    """Hold the end of the chain from here on, so that what is read of the log cannot change before it is appended to."""
    conn.execute(update(audit_head).where(audit_head.c.id == 1).values(seq=audit_head.c.seq))


def policies(conn: Connection) -> dict[str, str]:
    """The digest of each policy, by name, that was installed last and not withdrawn since."""
    found: dict[str, str] = {}
    query = select(audit.c.kind, audit.c.about, audit.c.data).where(_ABOUT_POLICIES).order_by(audit.c.seq)
    for kind, name, data in conn.execute(query):
        if kind == "policy.installed":
            found[name] = json.loads(data)["digest"]
        else:
            found.pop(name, None)
    return found


def root(conn: Connection) -> Root:
    end = conn.execute(select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1)).one()
    return Root(seq=end.seq, hash=end.hash)


def records(conn: Connection, *, after: int = 0, tenant: str | None = None) -> Iterator[Record]:
    """All rows behind number `after`, in their order, page by page."""
    query = select(audit).order_by(audit.c.seq).limit(_PAGE)
    if tenant is not None:
        query = query.where(audit.c.tenant == tenant)
    while page := conn.execute(query.where(audit.c.seq > after)).all():
        yield from (Record(**row._mapping) for row in page)
        after = page[-1].seq


def verify(conn: Connection, known: Iterable[Root] = ()) -> Fault | None:
    """The first fault of the whole chain, or None; `known` are roots that were exported before."""
    roots = {one.seq: one.hash for one in known}
    end = root(conn)
    last = Root(seq=0, hash=GENESIS)
    for record in records(conn):
        fault = _fault(record, last, roots)
        if fault is not None:
            return fault
        last = Root(seq=record.seq, hash=record.hash)
    if last != end:
        return Fault(seq=last.seq + 1, what="the log ends before its recorded end, or at another hash")
    beyond = [seq for seq in roots if seq > last.seq]
    return Fault(seq=last.seq + 1, what="an exported root lies behind its end") if beyond else None


def hash_of(record: Record) -> str:
    """The hash that a row with this content must carry."""
    return _hash(
        {
            "seq": record.seq,
            "at": record.at,
            "kind": record.kind,
            "actor": record.actor,
            "tenant": record.tenant,
            "about": record.about,
            "data": record.data,
            "prev_hash": record.prev_hash,
        }
    )


def _fault(record: Record, last: Root, roots: Mapping[int, str]) -> Fault | None:
    if record.seq != last.seq + 1:
        return Fault(seq=last.seq + 1, what="a row is missing")
    if record.prev_hash != last.hash:
        return Fault(seq=record.seq, what="it does not follow the row before it")
    if record.hash != hash_of(record):
        return Fault(seq=record.seq, what="its content is not what was written")
    if roots.get(record.seq, record.hash) != record.hash:
        return Fault(seq=record.seq, what="it is not the root that was exported")
    return None


def _row(seq: int, entry: Entry, now: float, previous: str) -> dict[str, Any]:
    row = {
        "seq": seq,
        "at": now,
        "kind": entry.kind,
        "actor": entry.actor,
        "tenant": entry.tenant,
        "about": entry.about,
        "data": canonical(dict(entry.data)).decode(),
        "prev_hash": previous,
    }
    return {**row, "hash": _hash(row)}


def _hash(row: Mapping[str, Any]) -> str:
    return digest(dict(row))


def as_line(record: Record) -> str:
    """One row as a line of JSON; from such lines alone the chain can be checked again."""
    values = {**vars(record), "data": json.loads(record.data)}
    return canonical(values).decode()

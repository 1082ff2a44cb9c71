"""Which policies were in force when: each start notes what has changed since the one before."""

from __future__ import annotations

from collections.abc import Mapping

from storage.ledger import audit
from storage.ledger.audit import Entry
from storage.ledger.engine import Ledger

INSTALLED, WITHDRAWN = "policy.installed", "policy.withdrawn"


def note_policies(ledger: Ledger, digests: Mapping[str, str], now: float) -> int:
    """Audit what differs from the policies (name to digest) noted before; the number of changes.

    Two processes that start together note a change once: the second one sees what the first has committed.
    """
    with ledger.read() as conn:
        if not _changes(audit.policies(conn), digests):
            return 0
    with ledger.begin(wake=False) as conn:
        audit.wait_for_turn(conn)
        changes = _changes(audit.policies(conn), digests)
        audit.append(conn, changes, now)
    return len(changes)


def _changes(known: Mapping[str, str], digests: Mapping[str, str]) -> list[Entry]:
    new = [
        Entry(kind=INSTALLED, actor="start", about=name, data={"digest": digest})
        for name, digest in sorted(digests.items())
        if known.get(name) != digest
    ]
    gone = sorted(known.keys() - digests.keys())
    return new + [
        Entry(kind=WITHDRAWN, actor="start", about=name, data={"digest": known[name]}) for name in gone
    ]

"""The end of the audit log, written once a day to where whoever can write the ledger need not be able to write."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from storage.ledger import audit
from storage.ledger.audit import Root
from storage.ledger.engine import Ledger
from storage.objects.store import ObjectStore

#: One object for each day (UTC), by its date.
PREFIX = "audit/roots/"


class AuditRoots:
    """Exports roots to a store, and reads them back."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._last = ""

    def export(self, ledger: Ledger, now: float) -> int:
        """Write today's root unless it is there: the first of a day stays."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        if day == self._last:
            return 0
        with ledger.read() as conn:
            end = audit.root(conn)
        body = json.dumps({"seq": end.seq, "hash": end.hash, "at": now}).encode()
        self._store.put(f"{PREFIX}{day}.json", body, media_type="application/json")
        self._last = day
        return 0

    def known(self) -> list[Root]:
        """The roots of all days, oldest first."""
        found = [json.loads(self._store.get(entry.key)) for entry in self._store.list(PREFIX)]
        return [Root(seq=one["seq"], hash=one["hash"]) for one in found]

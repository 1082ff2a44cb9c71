"""Whose turn it is in a rotation: given out in the order of asking, kept for ever once written down."""

from __future__ import annotations

import hmac
import threading
from collections import OrderedDict

from storage.ledger import rotations
from storage.ledger.engine import Ledger
from storage.ledger.rotations import Turn

#: Turns in memory: those of requests that are planned and not yet written, and some more.
_REMEMBERED = 20_000


class Turns:
    """Gives places in rotations. A place that is never written down leaves a gap, which costs nobody anything."""

    def __init__(self, ledger: Ledger | None, key: bytes = b"") -> None:
        """Without a ledger every process starts anew: the twin for a single picture and for tests.

        Units are kept under `key` (HMAC-SHA256): they may be prompts, and nobody shall guess at them.
        """
        self._ledger, self._key, self._lock = ledger, key, threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self._next: dict[tuple[str, str], int] = {}

    def take(self, tenant: str, cycle: str, unit: str) -> Turn:
        """The unit's turn: the one it has, or the next."""
        name = hmac.digest(self._key, f"{tenant}\x1f{unit}".encode(), "sha256").hex()
        key = (tenant, cycle, name)
        with self._lock:
            place = self._known.get(key)
            if place is None:
                place = self._found(*key)
                self._known[key] = place
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return Turn(*key, place)

    def _found(self, tenant: str, cycle: str, unit: str) -> int:
        least = self._next.get((tenant, cycle), 0)
        if self._ledger is not None:
            with self._ledger.read() as conn:
                place = rotations.place_of(conn, tenant=tenant, cycle=cycle, unit=unit)
                if place is not None:
                    return place
                least = max(least, rotations.next_place(conn, tenant=tenant, cycle=cycle))
        self._next[tenant, cycle] = least + 1
        return least

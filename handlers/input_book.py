"""The ledger's side of kept pictures: what counts towards a quota, what was used when, and what may be removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from storage.kept_inputs import KeptInputs
from storage.ledger import kept_inputs
from storage.ledger.engine import Ledger
from storage.ledger.kept_inputs import Quota

_REMOVED_AT_ONCE = 100


class InputBook(Protocol):
    """Knows every picture that is kept. Each call commits before it returns."""

    def add(self, tenant: str, sha256: str, *, size: int, counted: bool) -> None:
        """Note a picture that is about to be stored; QuotaReached when there is no room for it."""

    def use(self, tenant: str, sha256: str, *, size: int) -> None:
        """Note that a request named a picture that lies there; LedgerBusy while it is being removed."""


@dataclass(frozen=True, kw_only=True)
class LedgerBook:
    """In the ledger, within one quota for each tenant."""

    ledger: Ledger
    quota: Quota
    clock: Callable[[], float] = time.time

    def add(self, tenant: str, sha256: str, *, size: int, counted: bool) -> None:
        with self.ledger.begin(wake=False) as conn:
            kept_inputs.add(
                conn, tenant, sha256, size=size, counted=counted, quota=self.quota, now=self.clock()
            )

    def use(self, tenant: str, sha256: str, *, size: int) -> None:
        now = self.clock()
        with self.ledger.begin(wake=False) as conn:
            # One that no row knows comes from a restored store, or from before there were rows.
            kept_inputs.add(conn, tenant, sha256, size=size, counted=False, quota=self.quota, now=now)


@dataclass(frozen=True, kw_only=True)
class InputCleaner:
    """Removes kept pictures that nothing open needs and no request has named for `keep_seconds`."""

    ledger: Ledger
    #: A tenant's kept pictures.
    kept: Callable[[str], KeptInputs]
    keep_seconds: float

    def sweep(self, now: float) -> int:
        """Remove some; how many. A crash anywhere is repaired by the next call."""
        with self.ledger.begin(wake=False) as conn:
            unused = kept_inputs.take_unused(
                conn, before=now - self.keep_seconds, now=now, count=_REMOVED_AT_ONCE
            )
        # The marks are committed: from here on nobody begins to use one of them.
        for tenant, sha256 in unused:
            self.kept(tenant).remove(sha256)
            with self.ledger.begin(wake=False) as conn:
                kept_inputs.forget(conn, tenant, sha256)
        return len(unused)


class FreeBook:
    """Keeps no book: for a process without a ledger, and for tests."""

    def add(self, tenant: str, sha256: str, *, size: int, counted: bool) -> None:
        """Nothing is counted."""

    def use(self, tenant: str, sha256: str, *, size: int) -> None:
        """Nothing is ever removed."""

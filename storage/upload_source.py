"""Where the news of uploads comes from: a watched folder or a queue, at least once and in no order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from schemas.object_event import ObjectCreated


@dataclass(frozen=True, kw_only=True)
class UploadMessage:
    """Uploads to be recorded together; until `ack` is called the message comes again.

    A message without events (a test message, a deletion, a foreign body) is to be acknowledged too; `ignored` says why.
    Both calls may come from any thread, also late: at worst the message comes again, and the ledger knows it.
    """

    #: Of the message, for logs; never an idempotency key.
    id: str
    events: tuple[ObjectCreated, ...] = ()
    ignored: tuple[str, ...] = ()
    #: To be called once the events are committed to the ledger.
    ack: Callable[[], None]
    #: Gives the message back, to come again after this many seconds.
    retry_later: Callable[[float], None]


class UploadSource(Protocol):
    def receive(self, timeout_seconds: float) -> list[UploadMessage]:
        """Waits up to `timeout_seconds` for messages; empty when there are none. One thread at a time.

        Raises StoreUnavailable, QueueUnavailable, StoreDenied or BadSettings when the source cannot be asked.
        """
        ...

    def close(self) -> None: ...

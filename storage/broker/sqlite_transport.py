# ruff: noqa: ARG002  # kombu passes these by name
"""A kombu transport on one SQLite file: ``aquatint-sqlite://localhost/path/to/queue.db`` after `register()`.

For the embedded stack: many processes of one machine, no server. What a consumer holds is leased and a thread of its
channel renews the lease, so work longer than the lease is not delivered twice, and what a killed process held comes
back when its lease runs out. Closing a channel gives everything back at once.

Commits are not synced to the disk by default: any process may be killed without a loss, but a power failure may take
the last messages, which the ledger then publishes again. There is no fanout exchange, hence no remote control, and no
priorities. File systems without working locks (most network ones) cannot hold the file.

Transport options: ``lease_seconds`` (30), ``polling_interval`` (0.01 s), ``synchronous`` ("normal" or "full"),
``busy_seconds`` (30), ``claim_limit`` (200, messages per transaction for a consumer without a prefetch count),
``longest_wait_seconds`` (none: `drain_events` waits as long as it is told; Celery looks for its stop signal in between).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import quote

import structlog
from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.base import to_rabbitmq_queue_arguments

from schemas.errors import QueueMissing, QueueUnavailable
from storage.broker.queue_file import Claim, QueueFile

ALIAS = "aquatint-sqlite"

#: Even without a commit anywhere, a lease may have run out: look this often (seconds).
RECHECK_SECONDS = 0.25

log = structlog.get_logger(__name__)


def register() -> None:
    """Teaches kombu, and so Celery, the URL scheme of this transport."""
    TRANSPORT_ALIASES[ALIAS] = f"{__name__}:Transport"


def url_of(path: Path) -> str:
    """The broker URL of a queue file."""
    return f"{ALIAS}://localhost{quote(str(path.absolute()))}"


class QoS(virtual.QoS):  # type: ignore[misc]  # kombu has no types
    """Acknowledgements that reach the file. Celery calls them from its pool threads, so the bookkeeping is the channel's."""

    def ack(self, delivery_tag: int) -> None:
        # Forgotten before it is deleted: when the deletion fails, the lease runs out and the message comes again.
        self.channel.settle([delivery_tag])
        super().ack(delivery_tag)

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        (self.channel.give_back if requeue else self.channel.settle)([delivery_tag])
        super().ack(delivery_tag)

    def restore_unacked(self) -> list[Any]:
        self.channel.give_back(self.channel.held())
        self._delivered.clear()
        return []

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self._on_collect.cancel()
        self.restore_unacked()


class Channel(virtual.Channel):  # type: ignore[misc]  # kombu has no types
    """One consumer or producer; its file connection and its leases are its own."""

    QoS = QoS
    supports_fanout = False
    body_encoding = "utf-8"

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)
        chosen = connection.client.transport_options
        self.lease_seconds = float(chosen.get("lease_seconds", 30.0))
        self._claim_limit = int(chosen.get("claim_limit", 200))
        self._file = QueueFile(
            connection.path,
            synchronous=chosen.get("synchronous", "normal"),
            busy_seconds=float(chosen.get("busy_seconds", 30.0)),
        )
        self._pid = os.getpid()
        self._leases: dict[int, Claim] = {}
        self._leases_lock = threading.Lock()
        self._last_tag = 0
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._expiries: dict[str, float] = {}
        self._no_ack: set[str] = set()
        self._batch: list[tuple[str, str]] | None = None
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    # Queues

    def prepare_queue_arguments(self, arguments: dict[str, Any], **options: Any) -> dict[str, Any]:
        prepared: dict[str, Any] = to_rabbitmq_queue_arguments(arguments, **options)
        return prepared

    def _new_queue(self, queue: str, arguments: dict[str, Any] | None = None, **_: Any) -> None:
        milliseconds = (arguments or {}).get("x-expires")
        if milliseconds:
            self._expiries[queue] = milliseconds / 1000
        self._file.declare(queue, milliseconds / 1000 if milliseconds else None)

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return self._file.exists(queue)

    def _size(self, queue: str) -> int:
        return self._file.size(queue)

    def _purge(self, queue: str) -> int:
        return self._file.purge(queue)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any) -> None:
        # kombu deletes only queues it knows a binding of, and ours live on the default exchange.
        if not (if_empty and self._size(queue)):
            self.state.queue_bindings_delete(queue)
            self._file.drop(queue)

    # Publishing

    def encode_body(self, body: Any, encoding: str | None = None) -> tuple[Any, str | None]:
        if isinstance(body, bytes) and encoding == "utf-8":
            encoding = "base64"  # the file holds text
        encoded: tuple[Any, str | None] = super().encode_body(body, encoding)
        return encoded

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **options: Any) -> Any:
        if exchange and not self._lookup(exchange, routing_key):
            raise ChannelError(
                f"NO_ROUTE: nothing is bound to {exchange!r} by {routing_key!r}", (60, 40), "", "312"
            )
        return super().basic_publish(message, exchange, routing_key, **options)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        item = (queue, json.dumps(message, separators=(",", ":")))
        if self._batch is not None:
            self._batch.append(item)
        else:
            self._publish([item])

    def _publish(self, batch: list[tuple[str, str]]) -> None:
        try:
            self._file.publish(batch)
        except QueueMissing as error:
            raise ChannelError(f"NOT_FOUND: {error.detail}", (60, 40), "", "404") from error

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """What is published inside is committed once, at the end; nothing of it when an exception leaves the block."""
        batch: list[tuple[str, str]] = []
        self._batch = batch
        try:
            yield
        finally:
            self._batch = None
        if batch:
            self._publish(batch)

    # Consuming

    def basic_consume(self, queue: str, no_ack: bool, *arguments: Any, **options: Any) -> None:
        super().basic_consume(queue, no_ack, *arguments, **options)
        (self._no_ack.add if no_ack else self._no_ack.discard)(queue)
        if queue in self._expiries:
            self._keep()

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:
        message = super().basic_get(queue, no_ack, **options)
        if message is not None and no_ack:
            self.settle([message.delivery_tag])
        return message

    @property
    def is_consuming(self) -> bool:
        return bool(self._consumers)

    def version(self) -> tuple[int, int]:
        return self._file.version()

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        for claim in self._claim(queue, 1):
            return self._delivery(claim)
        raise Empty

    def _get_many(self, queues: list[str], timeout: float | None = None) -> None:
        """Claims what the prefetch count allows in one transaction and hands it to the consumers."""
        for queue in list(queues):
            room = self.qos.can_consume_max_estimate()
            claims = self._claim(queue, self._claim_limit if room is None else room)
            if claims:
                queues.append(queues.pop(queues.index(queue)))  # the others first next time
                return self._hand_over(queue, claims)
        raise Empty

    def _hand_over(self, queue: str, claims: list[Claim]) -> None:
        pending = list(claims)
        deliver: Callable[[dict[str, Any], str], None] = self.connection._deliver
        try:
            while pending:
                message = self._delivery(pending.pop(0))
                if queue in self._no_ack:
                    self.settle([message["properties"]["delivery_tag"]])
                deliver(message, queue)
        finally:
            self._file.give_back([claim.key for claim in pending])

    def _claim(self, queue: str, limit: int) -> list[Claim]:
        version, now = self._file.version(), time.monotonic()
        seen, looked_at = self._seen.get(queue, (None, 0.0))
        if limit < 1 or (version == seen and now - looked_at < RECHECK_SECONDS):
            return []
        claims = self._file.claim(queue, limit, self.lease_seconds)
        if not claims:
            self._seen[queue] = (version, now)
        return claims

    def _delivery(self, claim: Claim) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(claim.payload)
        with self._leases_lock:
            self._last_tag += 1
            self._leases[self._last_tag] = claim
            message["properties"]["delivery_tag"] = self._last_tag
        message["properties"].setdefault("delivery_info", {})["redelivered"] = claim.deliveries > 1
        self._keep()
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        if not multiple:
            return super().basic_ack(delivery_tag)  # type: ignore[no-any-return]
        tags = [tag for tag in self.held() if tag <= delivery_tag]
        self.settle(tags)
        for tag in tags:
            virtual.QoS.ack(self.qos, tag)

    # Leases

    def held(self) -> list[int]:
        with self._leases_lock:
            return list(self._leases)

    def settle(self, tags: list[int]) -> None:
        """Deletes the messages; the caller has made their effect durable."""
        self._file.settle(self._forget(tags))

    def give_back(self, tags: list[int]) -> None:
        self._file.give_back(self._forget(tags))

    def _forget(self, tags: list[int]) -> list[tuple[int, int]]:
        if self._pid != os.getpid():
            return []  # a forked child inherits the list, not the leases
        with self._leases_lock:
            claims = [self._leases.pop(tag, None) for tag in tags]
        return [claim.key for claim in claims if claim is not None]

    def _keep(self) -> None:
        if self._keeper is None and not self._stop.is_set():
            # A thread, since a worker that is full stops polling while its leases go on running.
            self._keeper = threading.Thread(target=self._keep_leases, name="queue leases", daemon=True)
            self._keeper.start()

    def _keep_leases(self) -> None:
        while not self._stop.wait(min([self.lease_seconds, *self._expiries.values()]) / 3):
            try:
                with self._leases_lock:
                    keys = [claim.key for claim in self._leases.values()]
                self._file.renew(keys, self.lease_seconds)
                used = {
                    queue: self._expiries[queue]
                    for queue in list(self._active_queues)
                    if queue in self._expiries
                }
                if used:
                    self._file.touch(used)
            except (sqlite3.Error, QueueUnavailable) as error:
                # A full disk or a stubborn lock: the next round may be in time still.
                log.warning("queue.lease_not_renewed", error=type(error).__name__)

    def close(self) -> None:
        if self.closed:
            return
        self._stop.set()
        if (
            self._keeper is not None
            and self._keeper is not threading.current_thread()
            and self._pid == os.getpid()
        ):
            self._keeper.join()
        try:
            if self._qos is None:
                self.give_back(self.held())
            super().close()
        finally:
            self._file.close()


class Transport(virtual.Transport):  # type: ignore[misc]  # kombu has no types
    """The transport class behind the alias."""

    Channel = Channel
    polling_interval = 0.01
    can_parse_url = False
    driver_type = ALIAS
    driver_name = "sqlite3"
    connection_errors = (*virtual.Transport.connection_errors, sqlite3.OperationalError, QueueUnavailable)
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(["direct", "topic"]), heartbeats=False
    )

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Delivers what there is to the consumers, waiting up to `timeout` seconds; raises `TimeoutError` after that."""
        longest = self.client.transport_options.get("longest_wait_seconds", timeout)
        wait = longest if timeout is None else min(timeout, longest)
        deadline = None if wait is None else time.monotonic() + wait
        while True:
            before = self._versions()
            try:
                return self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[no-any-return]
            except Empty:
                self._wait_for_change(before, deadline)

    def _versions(self) -> list[tuple[int, int]]:
        return [channel.version() for channel in self.channels if channel.is_consuming]

    def _wait_for_change(self, before: list[tuple[int, int]], deadline: float | None) -> None:
        # The version is a number in shared memory: looking at it costs a hundredth of a round through kombu.
        recheck = time.monotonic() + RECHECK_SECONDS
        while (now := time.monotonic()) < recheck:
            if deadline is not None and now >= deadline:
                raise TimeoutError
            time.sleep(
                self.polling_interval if deadline is None else min(self.polling_interval, deadline - now)
            )
            if self._versions() != before:
                return

    @property
    def path(self) -> Path:
        """Of the file; kombu takes the first slash of a URL's path away."""
        return Path("/", self.client.virtual_host)

    def driver_version(self) -> str:
        return sqlite3.sqlite_version

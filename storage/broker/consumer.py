"""Taking messages in bulk, acknowledged in bulk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kombu import Connection, Queue

from schemas.errors import QueueUnavailable
from storage.broker import sqlite_transport
from storage.broker.connection import Backoff, BrokerSettings, connect, recoverable_errors
from storage.broker.topology import declare

#: Seconds between AMQP heartbeats, so that a broker that vanished is noticed by a consumer that only waits.
HEARTBEAT_SECONDS = 30

#: Transports, by driver type, that understand "this message and all before it".
ACKNOWLEDGE_IN_BULK = ("amqp", sqlite_transport.ALIAS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Delivery:
    """One message that was received and waits for its acknowledgement."""

    body: bytes = field(repr=False)
    redelivered: bool
    message: Any = field(repr=False)
    #: Which connection it came over; its acknowledgement is worth nothing on another.
    connection_number: int


class Consumer:
    """Drains one queue. Not thread-safe: one consumer, one thread.

    After a lost connection the next `drain` makes a new one; whatever was not acknowledged is delivered again.
    """

    def __init__(
        self, settings: BrokerSettings, queue: Queue, *, prefetch: int = 500, backoff: Backoff | None = None
    ) -> None:
        self.settings, self._queue, self._prefetch = settings, queue, prefetch
        self._backoff = backoff or Backoff()
        self._recoverable = recoverable_errors(settings)
        self._connection: Connection | None = None
        self._connection_number = 0
        self._arrived: list[Delivery] = []
        self._unsettled: list[Delivery] = []

    def declare(self) -> None:
        """Makes the queue unless it exists, without consuming."""
        with connect(self.settings) as connection:
            try:
                connection.connect()
                declare(connection.channel(), self._queue)
            except self._recoverable as error:
                raise QueueUnavailable(f"the broker did not answer ({type(error).__name__})") from error

    def drain(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` messages: waits up to `timeout` seconds for the first, then takes what has arrived already.

        Raises `QueueUnavailable` when the broker stays away longer than the back-off allows.
        """
        since, attempt = time.monotonic(), 0
        while True:
            try:
                self._fill(limit, timeout)
                break
            except self._recoverable as error:
                self.close()
                self._backoff.wait(attempt, since, error)
                attempt += 1
        taken, self._arrived = self._arrived[:limit], self._arrived[limit:]
        self._unsettled += taken
        return taken

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settles messages whose effect is durable; in one go when they are the oldest unsettled ones.

        Raises `QueueUnavailable` when the connection they came over is gone: they will be delivered again.
        """
        if not deliveries:
            return
        if self._connection is None or any(
            d.connection_number != self._connection_number for d in deliveries
        ):
            raise QueueUnavailable("the connection was lost before the acknowledgement")
        try:
            self._settle(deliveries)
        except self._recoverable as error:
            self.close()
            raise QueueUnavailable("the connection was lost during the acknowledgement") from error
        done = set(map(id, deliveries))
        self._unsettled = [delivery for delivery in self._unsettled if id(delivery) not in done]

    def requeue(self, deliveries: Sequence[Delivery]) -> None:
        """Gives messages back to the queue."""
        with suppress(*self._recoverable):  # then the lost connection has given them back
            for delivery in deliveries:
                delivery.message.requeue()
        given = set(map(id, deliveries))
        self._unsettled = [delivery for delivery in self._unsettled if id(delivery) not in given]

    def close(self) -> None:
        """Gives back what was not acknowledged."""
        connection, self._connection = self._connection, None
        self._arrived, self._unsettled = [], []
        if connection is not None:
            with suppress(Exception):  # it is being thrown away
                connection.close()

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        oldest = {id(delivery) for delivery in self._unsettled[: len(deliveries)]}
        if self._driver in ACKNOWLEDGE_IN_BULK and oldest == {id(delivery) for delivery in deliveries}:
            newest = max(deliveries, key=lambda delivery: int(delivery.message.delivery_tag))
            return newest.message.ack(multiple=True)  # type: ignore[no-any-return]
        for delivery in deliveries:
            delivery.message.ack()

    @property
    def _driver(self) -> str:
        assert self._connection is not None
        return str(self._connection.transport.driver_type)

    def _fill(self, limit: int, timeout: float) -> None:
        drain = self._connect()
        if not self._arrived:
            drain(timeout)
        if self._driver == sqlite_transport.ALIAS:
            return  # one call yields all there is
        while len(self._arrived) < limit:
            before = len(self._arrived)
            drain(0.001)
            if len(self._arrived) == before:
                break

    def _connect(self) -> Callable[[float], None]:
        if self._connection is None:
            self._connection_number += 1
            self._connection = connect(self.settings, heartbeat=HEARTBEAT_SECONDS)
            self._connection.connect()
            channel = self._connection.channel()
            declare(channel, self._queue)
            # What the prefetch count allows is what a SQLite consumer claims in one transaction.
            consumer = self._connection.Consumer(
                [self._queue],
                channel=channel,
                on_message=self._receive,
                prefetch_count=self._prefetch,
                auto_declare=False,
            )
            consumer.consume()
        return self._drain_once

    def _drain_once(self, timeout: float) -> None:
        assert self._connection is not None
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            if self._connection.supports_heartbeats:
                self._connection.heartbeat_check()

    def _receive(self, message: Any) -> None:
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        redelivered = bool((message.delivery_info or {}).get("redelivered"))
        self._arrived.append(
            Delivery(
                body=body, redelivered=redelivered, message=message, connection_number=self._connection_number
            )
        )

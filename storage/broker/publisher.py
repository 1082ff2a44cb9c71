"""Publishing with confirmation."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kombu import Connection, Queue
from kombu.exceptions import ChannelError

from schemas.errors import QueueMissing, QueueUnavailable
from storage.broker.connection import Backoff, BrokerSettings, connect, recoverable_errors
from storage.broker.topology import declare

#: AMQP reply codes: nothing is bound there; not found.
NO_SUCH_QUEUE = ("312", "404")


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A JSON message for one queue."""

    queue: str
    body: str = field(repr=False)
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


class Publisher:
    """Sends messages and returns when the broker has them.

    Thread-safe: each thread has its own connection, made when first needed and made again after a failure, with a bounded
    back-off. A repeated attempt may deliver a message twice, never not at all. `queues` are declared on each connection.
    """

    def __init__(self, settings: BrokerSettings, *queues: Queue, backoff: Backoff | None = None) -> None:
        self.settings, self._queues = settings, queues
        self._backoff = backoff or Backoff()
        self._recoverable = recoverable_errors(settings)
        self._local = threading.local()
        self._lines: list[_Line] = []
        self._lines_lock = threading.Lock()

    def publish(self, *messages: Outgoing) -> None:
        """All messages are with the broker when this returns.

        Raises `QueueMissing` when a queue does not exist, `QueueUnavailable` when the broker stays away.
        """
        since, attempt = time.monotonic(), 0
        while messages:
            try:
                return self._line().send(messages)
            except QueueMissing:
                self._hang_up()
                raise
            except Exception as error:
                self._hang_up()
                if not isinstance(error, self._recoverable):
                    raise
                self._backoff.wait(attempt, since, error)
                attempt += 1

    def _line(self) -> _Line:
        line: _Line | None = getattr(self._local, "line", None)
        if line is None or line.pid != os.getpid():
            line = self._local.line = _Line(self.settings, self._queues)
            with self._lines_lock:
                self._lines.append(line)
        return line

    def _hang_up(self) -> None:
        line: _Line | None = getattr(self._local, "line", None)
        self._local.line = None
        if line is not None:
            with self._lines_lock, suppress(ValueError):
                self._lines.remove(line)
            line.close()

    def close(self) -> None:
        """Closes the connections of all threads; a later `publish` opens a new one."""
        with self._lines_lock:
            lines, self._lines = self._lines, []
        self._local = threading.local()
        for line in lines:
            line.close()


class _Line:
    """The connection and channel of one thread."""

    def __init__(self, settings: BrokerSettings, queues: Sequence[Queue]) -> None:
        self.pid = os.getpid()
        self._patience = settings.confirm_timeout_seconds
        self._connection: Connection = connect(settings)
        try:
            # A fresh channel: kombu's `default_channel` retries for ever when the broker is away.
            self._connection.connect()
            self._channel = self._connection.channel()
            declare(self._channel, *queues)
            self._send = self._chosen_way()
        except BaseException:
            self.close()
            raise

    def _chosen_way(self) -> Callable[[Sequence[Outgoing]], None]:
        if self._connection.transport.driver_type == "amqp":
            self._confirms = _Confirms(self._channel)
            return self._send_confirmed
        return self._send_in_bulk if hasattr(self._channel, "bulk") else self._send_each

    def send(self, messages: Sequence[Outgoing]) -> None:
        try:
            self._send(messages)
        except ChannelError as error:
            if str(error.reply_code) in NO_SUCH_QUEUE:
                raise QueueMissing(f"there is no queue {_names(messages)}") from error
            raise

    def _send_each(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            prepared = self._channel.prepare_message(
                message.body,
                content_type="application/json",
                content_encoding="utf-8",
                headers=dict(message.headers),
                properties={"delivery_mode": 2, "delivery_info": {}, **message.properties},
            )
            self._channel.basic_publish(prepared, exchange="", routing_key=message.queue)

    def _send_in_bulk(self, messages: Sequence[Outgoing]) -> None:
        with self._channel.bulk():
            self._send_each(messages)

    def _send_confirmed(self, messages: Sequence[Outgoing]) -> None:
        # All first, then one wait for all answers: a confirmation per message costs a round trip and a disk sync each.
        for message in messages:
            prepared = self._channel.prepare_message(
                message.body,
                content_type="application/json",
                content_encoding="utf-8",
                headers=dict(message.headers),
                properties={"delivery_mode": 2, **message.properties},
            )
            # Mandatory: without it a message for a queue that is gone is dropped and confirmed all the same.
            self._channel.basic_publish(prepared, exchange="", routing_key=message.queue, mandatory=True)
            self._confirms.expect()
        self._confirms.wait(self._connection, self._patience)

    def close(self) -> None:
        if self.pid == os.getpid():  # a forked child must not say goodbye on its parent's socket
            with suppress(Exception):  # it is being thrown away
                self._connection.close()


class _Confirms:
    """Counts RabbitMQ's answers on one channel; after an error the channel is thrown away with its counts."""

    def __init__(self, channel: Any) -> None:
        self._last_tag, self._open = 0, set[int]()
        self._refused = False
        self._returned: Exception | None = None
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        channel.confirm_select()

    def expect(self) -> None:
        """One more message was published: the broker numbers them from one."""
        self._last_tag += 1
        self._open.add(self._last_tag)

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        self._open -= {tag for tag in self._open if tag <= delivery_tag} if multiple else {delivery_tag}

    def _on_nack(self, _delivery_tag: int, _multiple: bool) -> None:
        self._refused = True

    def _on_return(self, error: Exception, *_: Any) -> None:
        self._returned = error

    def wait(self, connection: Connection, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._open and not self._refused:
            connection.drain_events(timeout=max(0.0, deadline - time.monotonic()))
        if self._returned is not None:
            raise self._returned
        if self._refused:
            raise QueueUnavailable("the broker refused the message")


def _names(messages: Sequence[Outgoing]) -> str:
    return " or ".join(sorted({message.queue for message in messages}))

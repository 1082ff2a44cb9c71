"""How every process reaches the broker."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kombu import Connection
from kombu.exceptions import ChannelError, OperationalError

from schemas.errors import QueueUnavailable
from storage.broker import sqlite_transport


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """Where the broker is and how it is used; the same object goes to publishers, consumers and the Celery app."""

    url: str = field(repr=False)
    #: Seals messages that hold customers' words; the same on every host. Empty: they travel plain.
    message_key: bytes = field(default=b"", repr=False)
    #: Seconds a consumer may be silent before the broker gives its messages to another (SQLite, Redis, SQS).
    lease_seconds: float = 30.0
    #: Seconds between two looks whether a SQLite queue has changed.
    polling_interval: float = 0.01
    #: A worker's queue goes when nobody has consumed it for this long.
    work_queue_expires_seconds: float = 600.0
    #: Several installations may share one broker.
    queue_prefix: str = ""
    #: Seconds to wait for a confirmation from the broker.
    confirm_timeout_seconds: float = 30.0
    #: Further kombu transport options; they win over the ones derived here.
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def is_rabbitmq(self) -> bool:
        return self.scheme in ("amqp", "amqps", "pyamqp")

    @property
    def is_sqlite(self) -> bool:
        return self.scheme == sqlite_transport.ALIAS

    @property
    def transport_options(self) -> dict[str, Any]:
        return {**self._derived(), **self.options}

    def _derived(self) -> dict[str, Any]:
        if self.is_sqlite:
            return {"lease_seconds": self.lease_seconds, "polling_interval": self.polling_interval}
        if self.scheme in ("redis", "rediss"):
            # kombu's default sweep looks for lost messages only every 100 s. It never renews: the lease must outlast a render.
            sweep = {"unacked_restore_interval": 2, "unacked_restore_throttle": 1}
            return {
                "visibility_timeout": max(3600, round(self.lease_seconds)),
                "socket_keepalive": True,
                **sweep,
            }
        if self.scheme == "sqs":
            return {"visibility_timeout": max(1800, round(self.lease_seconds)), "wait_time_seconds": 10}
        return {}


def connect(settings: BrokerSettings, *, heartbeat: int = 0) -> Connection:
    """A kombu connection, not yet established; `heartbeat` in seconds matters to AMQP alone."""
    sqlite_transport.register()
    options = settings.transport_options
    return Connection(settings.url, transport_options=options, heartbeat=heartbeat, connect_timeout=10)


def recoverable_errors(settings: BrokerSettings) -> tuple[type[Exception], ...]:
    """What a fresh connection to this broker may repair."""
    with connect(settings) as connection:
        known = (*connection.connection_errors, *connection.channel_errors)
    # AttributeError: py-amqp meets its own half-closed sockets with one.
    return (*known, OSError, ChannelError, OperationalError, QueueUnavailable, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to go on trying: delays double from `first_seconds`, with jitter, until `give_up_seconds` have passed."""

    first_seconds: float = 0.1
    most_seconds: float = 2.0
    give_up_seconds: float = 30.0

    def wait(self, attempt: int, since: float, error: Exception) -> None:
        """Sleeps before attempt `attempt + 1`; raises `QueueUnavailable` when the time since `since` (monotonic) is up."""
        delay = min(self.most_seconds, self.first_seconds * 2 ** min(attempt, 20)) * random.uniform(0.5, 1)  # noqa: S311  # jitter
        if time.monotonic() + delay - since > self.give_up_seconds:
            # The type alone: a transport's text may hold the URL with its password.
            raise QueueUnavailable(f"the broker did not answer ({type(error).__name__})") from error
        time.sleep(delay)

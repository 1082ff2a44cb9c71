"""One attempt to deliver one webhook: signed, to a pinned address, within a total time limit."""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from handlers.webhooks.address_guard import AddressGuard, PinnedTarget
from handlers.webhooks.pinned_connection import CONNECT_SECONDS, Deadline, TimedSocket, connect
from handlers.webhooks.signature import sign
from schemas.errors import AddressRefused

TOTAL_SECONDS = 15.0
MAX_RESPONSE_BYTES = 4096
MAX_ERROR_CHARS = 300

_USER_AGENT = "Aquatint-Webhooks/1"
_THROTTLED = frozenset({429, 502, 503, 504})
#: What a receiver may echo and our delivery log must not keep: signatures, secrets, the query of a link.
_SECRETS = re.compile(r"whs[ekp][a-z]?_\S+|v1a?,\S+|\?\S+|bearer\s+\S+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent. `id` stays the same over all attempts: the receiver knows a repeat by it."""

    id: str
    url: str
    body: bytes
    #: One signature for each, so that a secret can be rotated.
    secrets: tuple[str, ...]
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """The receiver answered 2xx."""

    status: int


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The receiver is busy; `after_seconds` is its own wish."""

    status: int
    after_seconds: float | None
    error: str


@dataclass(frozen=True, kw_only=True)
class Gone:
    """The receiver wants nothing more, ever (410)."""

    status: int = 410
    error: str = "410 Gone"


@dataclass(frozen=True, kw_only=True)
class Failed:
    """No answer, a redirect, a refused address, or any other status; `status` is None without an answer."""

    status: int | None
    error: str


Result = Delivered | Retry | Gone | Failed


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Sends webhooks. Thread-safe; one connection per attempt, closed after the answer."""

    guard: AddressGuard
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)
    connect_seconds: float = CONNECT_SECONDS
    total_seconds: float = TOTAL_SECONDS
    #: Unix seconds, for the signature.
    clock: Callable[[], float] = time.time

    def send(self, message: Message) -> Result:
        """Blocks for at most `total_seconds`, however slowly the receiver drips; never raises for what a receiver does."""
        deadline = Deadline(self.total_seconds)
        try:
            target = self.guard.check(message.url, field="webhook.url")
            with connect(target, self.tls, deadline, connect_seconds=self.connect_seconds) as connection:
                return self._exchange(connection, target, message)
        except AddressRefused as refused:
            return Failed(status=None, error=f"address refused: {refused.detail}")
        except TimeoutError:
            return Failed(status=None, error="timed out")
        except ssl.SSLCertVerificationError as error:
            return Failed(status=None, error=f"certificate: {error.verify_message}")
        except (OSError, http.client.HTTPException) as error:
            return Failed(status=None, error=type(error).__name__)

    def _exchange(self, connection: TimedSocket, target: PinnedTarget, message: Message) -> Result:
        request = http.client.HTTPConnection(target.host, target.port)
        request.sock = cast(Any, connection)  # http.client uses only sendall, makefile and close
        request.auto_open = 0
        request.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in _headers(message, target, int(self.clock())).items():
            request.putheader(name, value)
        request.endheaders(message.body)
        response = request.getresponse()
        if 200 <= response.status < 300:
            # The status line is the receiver's word; its body is not waited for.
            return Delivered(status=response.status)
        if response.status == 410:
            return Gone()
        error = _error_text(response)
        if response.status in _THROTTLED:
            after = retry_after_seconds(response.headers.get("retry-after"), self.clock())
            return Retry(status=response.status, after_seconds=after, error=error)
        return Failed(status=response.status, error=error)


def _headers(message: Message, target: PinnedTarget, timestamp: int) -> dict[str, str]:
    headers = {
        "host": target.authority,
        "user-agent": _USER_AGENT,
        "content-type": "application/json",
        "content-length": str(len(message.body)),
        "connection": "close",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(message.secrets, message.id, timestamp, message.body),
    }
    if message.traceparent:
        headers["traceparent"] = message.traceparent
    return headers


def _error_text(response: http.client.HTTPResponse) -> str:
    """Status and the start of the body, cleaned, for the customer's own delivery log."""
    try:
        body = response.read(MAX_RESPONSE_BYTES)
    except (OSError, http.client.HTTPException):
        body = b""
    text = "".join(char if char.isprintable() else " " for char in body.decode("utf-8", "replace"))
    text = _SECRETS.sub("[removed]", " ".join(text.split()))
    return f"{response.status} {text}".strip()[:MAX_ERROR_CHARS]


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Seconds to wait from a `Retry-After` header, which is a number or an HTTP date; None when absent or malformed."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

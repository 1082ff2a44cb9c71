"""Pictures at addresses that customers name: read through the same guard as webhooks, within a time and a size."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urljoin

from cachetools import TTLCache

from handlers.webhooks.address_guard import AddressGuard, PinnedTarget
from handlers.webhooks.pinned_connection import Deadline, TimedSocket, connect
from schemas.errors import (
    AddressRefused,
    AddressUnreachable,
    ImageTooLarge,
    InputMissing,
    Temporary,
    Unsupported,
)
from schemas.input_limits import MAX_INPUT_BYTES

TOTAL_SECONDS = 10.0
MAX_REDIRECTS = 2
#: Fetches at the same time, and how long a further one waits for its turn.
AT_ONCE, PATIENCE_SECONDS = 16, 10.0
#: A host that let so many fetches of a tenant run out of time is left alone for a while: a manifest full of its
#: addresses must not hold up the planner for that long each.
_STRIKES, _PAUSE_SECONDS = 3, 60.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "Aquatint-Inputs/1"
_PIECE = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class PictureFetcher:
    """Reads what lies at an address. Thread-safe; no answer of the other side is told to the caller but its status.

    AddressRefused for an address that may not be called, also behind a redirect; AddressUnreachable, InputMissing,
    ImageTooLarge or Unsupported for what is found there; Temporary when too much is being fetched already.
    """

    guard: AddressGuard
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)
    total_seconds: float = TOTAL_SECONDS
    most_bytes: int = MAX_INPUT_BYTES
    _room: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_ONCE))
    _strikes: TTLCache[tuple[str, str], int] = field(default_factory=lambda: TTLCache(1024, _PAUSE_SECONDS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, tenant: str, url: str) -> bytes:
        """The body, whatever type it is declared as; blocks for little more than `total_seconds`."""
        with self._turn():
            deadline = Deadline(self.total_seconds)
            for _ in range(MAX_REDIRECTS + 1):
                target = self.guard.check(url)
                found = self._one(tenant, target, deadline)
                if isinstance(found, bytes):
                    return found
                # Checked like the first: a public address may well point into our own network.
                url = urljoin(url, found)
        raise AddressRefused("the address redirects too often", limit=MAX_REDIRECTS)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._room.acquire(timeout=PATIENCE_SECONDS):
            raise Temporary("too many pictures are being fetched")
        try:
            yield
        finally:
            self._room.release()

    def _one(self, tenant: str, target: PinnedTarget, deadline: Deadline) -> bytes | str:
        """The body, or where it is said to be instead."""
        host = (tenant, target.authority)
        with self._lock:
            if self._strikes.get(host, 0) >= _STRIKES:
                raise AddressUnreachable("the address has not answered several times just now")
        try:
            with connect(target, self.tls, deadline) as connection:
                return self._answer(connection, target)
        except TimeoutError:
            with self._lock:
                self._strikes[host] = self._strikes.get(host, 0) + 1
            raise AddressUnreachable("the address did not answer in time") from None
        except ssl.SSLCertVerificationError:
            raise AddressUnreachable("the certificate of the address is not valid") from None
        except (OSError, http.client.HTTPException):
            raise AddressUnreachable from None

    def _answer(self, connection: TimedSocket, target: PinnedTarget) -> bytes | str:
        request = http.client.HTTPConnection(target.host, target.port)
        request.sock = cast(Any, connection)  # http.client uses only sendall, makefile and close
        request.auto_open = 0
        request.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in _headers(target).items():
            request.putheader(name, value)
        request.endheaders()
        response = request.getresponse()
        if response.status in _REDIRECTS:
            return response.headers.get("location", "")
        if response.status >= 500:
            raise AddressUnreachable(f"the address answered {response.status}")
        if response.status != 200:
            raise InputMissing(f"the address answered {response.status}")
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Unsupported("the address answered in a compressed form that was not asked for")
        return self._body(response)

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        if response.length is not None and response.length > self.most_bytes:
            raise ImageTooLarge(f"{response.length} bytes", limit=self.most_bytes)
        body = bytearray()
        while piece := response.read(_PIECE):
            body += piece
            if len(body) > self.most_bytes:
                raise ImageTooLarge(f"more than {self.most_bytes} bytes", limit=self.most_bytes)
        if response.length:
            raise http.client.IncompleteRead(bytes(body[:0]), response.length)
        return bytes(body)


def _headers(target: PinnedTarget) -> dict[str, str]:
    return {
        "host": target.authority,
        "user-agent": _USER_AGENT,
        "accept": "image/png, image/jpeg, image/webp",
        "accept-encoding": "identity",
        "connection": "close",
    }

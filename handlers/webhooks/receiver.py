"""A small receiver that verifies each webhook: the demo's other end, and an example of how to write one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from handlers.webhooks.signature import verify
from schemas.errors import AquatintError, BadInput, BodyTooLarge, IdempotencyConflict, MalformedJson

MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Received:
    """One verified webhook."""

    id: str
    type: str
    #: True when this id has been seen before: delivery is at least once.
    repeat: bool
    body: str


class Inbox:
    """Remembers ids and appends every new webhook to a file of JSON lines. Thread-safe.

    The file is the memory: a receiver that is started again knows what it has seen.
    """

    def __init__(self, sink: Path) -> None:
        self._sink, self._lock = sink, threading.Lock()
        self._bodies: dict[str, str] = {}
        if sink.exists():
            lines = (json.loads(line) for line in sink.read_text().splitlines())
            self._bodies = {line["id"]: line["body"] for line in lines}

    def add(self, id: str, body: str) -> Received:
        """Appends the webhook unless it is a repeat; IdempotencyConflict when an id comes with another body."""
        try:
            kind = str(json.loads(body)["type"])
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedJson("not a JSON object with a type") from error
        with self._lock:
            known = self._bodies.get(id)
            if known is not None and known != body:
                raise IdempotencyConflict("this id came before with another body", field="webhook-id")
            if known is None:
                with self._sink.open("a") as file:
                    file.write(
                        json.dumps({"id": id, "type": kind, "received_at": time.time(), "body": body}) + "\n"
                    )
                self._bodies[id] = body
        return Received(id=id, type=kind, repeat=known is not None, body=body)


def run_receiver(
    secret: str | Sequence[str], host: str, port: int, sink: Path, stop: threading.Event | None = None
) -> None:
    """Receive on `host:port` until `stop` is set, or for ever."""
    with receiver(secret, host, port, sink):
        (stop or threading.Event()).wait()


@contextmanager
def receiver(
    secret: str | Sequence[str],
    host: str,
    port: int,
    sink: Path,
    heard: Callable[[Received], None] | None = None,
) -> Iterator[str]:
    """A receiver in threads of its own; gives its address. Port 0 takes any free one. `heard` is told of each webhook."""
    secrets = [secret] if isinstance(secret, str) else list(secret)
    inbox = Inbox(sink)

    class Handler(_Handler):
        def accept(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = inbox.add(verify(secrets, headers, body, time.time()), body.decode())
            if heard is not None:
                heard(received)

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="receiver", daemon=True
        )
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """204 for what is accepted or repeated; a problem's own 4xx otherwise."""

    timeout = 10.0

    def accept(self, body: bytes) -> None:
        raise NotImplementedError

    def do_POST(self) -> None:
        try:
            self.accept(self.rfile.read(self._length()))
            self._answer(204, {})
        except UnicodeDecodeError:
            self._answer(400, {"code": MalformedJson.code})
        except AquatintError as error:
            self._answer(error.status, {"code": error.code, "detail": error.detail, "field": error.field})

    def _length(self) -> int:
        text = self.headers.get("content-length", "")
        if not text.isascii() or not text.isdigit():
            raise BadInput("a content-length is needed", field="content-length")
        if len(text) > 9 or int(text) > MAX_BODY_BYTES:
            raise BodyTooLarge(field="content-length", limit=MAX_BODY_BYTES)
        return int(text)

    def _answer(self, status: int, problem: dict[str, Any]) -> None:
        body = json.dumps(problem).encode() if problem else b""
        self.send_response(status)
        if status != 204:
            self.send_header("content-type", "application/problem+json")
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the sink is the log."""

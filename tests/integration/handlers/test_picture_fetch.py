"""Pictures by address, against real sockets: guarded, bounded in time and size, and silent about what was found."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from handlers import picture_fetch
from handlers.picture_fetch import PictureFetcher
from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork
from schemas.errors import (
    AddressRefused,
    AddressUnreachable,
    AquatintError,
    ImageTooLarge,
    InputMissing,
    Unsupported,
)

ALLOW = (AllowedNetwork.parse("127.0.0.1/32:*"),)
BODY = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
Serve = Callable[[socket.socket, str], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A listener on the loopback that hands each connection and its request line to `serve`; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection, connection.recv(65536).decode("latin-1"))

        thread = Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def answering(answer: bytes, seen: list[str] | None = None) -> Serve:
    def serve(connection: socket.socket, request: str) -> None:
        if seen is not None:
            seen.append(request)
        connection.sendall(answer)

    return serve


def whole(body: bytes = BODY, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def fetcher(**options: object) -> PictureFetcher:
    return PictureFetcher(guard=AddressGuard(allow=ALLOW), **options)  # type: ignore[arg-type]


def test_the_bytes_come_whatever_they_are_called() -> None:
    """The body is read, its declared type is not; the request says who asks and nothing about the tenant."""
    seen: list[str] = []
    with serving(answering(whole(BODY, "200 OK", "content-type: text/html"), seen)) as port:
        assert fetcher().fetch("acme", f"http://127.0.0.1:{port}/a.png?x=1") == BODY
    assert seen[0].startswith("GET /a.png?x=1 HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{port}\r\n" in seen[0] and "acme" not in seen[0]


def test_a_body_in_pieces_is_put_together() -> None:
    """Chunked transfer, as web servers use it."""
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:100], BODY[100:])) + b"0\r\n\r\n"
    with serving(answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + pieces)) as port:
        assert fetcher().fetch("acme", f"http://127.0.0.1:{port}/") == BODY


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (whole(b"secret page", "404 No"), InputMissing),
        (whole(b"secret page", "403 No"), InputMissing),
        (whole(b"", "204 No Content"), InputMissing),
        (whole(b"oops", "503 Busy"), AddressUnreachable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nshort", AddressUnreachable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n", ImageTooLarge),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(60_000), ImageTooLarge),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n" + bytes(65535) + b"\r\n0\r\n\r\n", ImageTooLarge),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n", AddressUnreachable),
        (whole(BODY, "200 OK", "content-encoding: gzip"), Unsupported),
        (b"nonsense\r\n\r\n", AddressUnreachable),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", AddressUnreachable),
        (b"", AddressUnreachable),
    ],
)  # fmt: skip
def test_every_other_answer_has_its_type(answer: bytes, expected: type[AquatintError]) -> None:
    """Missing, broken, endless, compressed: a typed error that repeats nothing of what was answered."""
    with serving(answering(answer)) as port, pytest.raises(expected) as caught:
        fetcher(most_bytes=50_000).fetch("acme", f"http://127.0.0.1:{port}/private?token=canary")
    assert "secret" not in str(caught.value) and "canary" not in str(caught.value)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_a_few_redirects_are_followed(hops: int) -> None:
    """Two, and no more; relative ones count too."""

    def serve(connection: socket.socket, request: str) -> None:
        left = int(request.split()[1].strip("/") or 0)
        connection.sendall(whole() if left == 0 else whole(b"", "302 Found", f"location: /{left - 1}"))

    with serving(serve) as port:
        address = f"http://127.0.0.1:{port}/{hops}"
        if hops <= picture_fetch.MAX_REDIRECTS:
            assert fetcher().fetch("acme", address) == BODY
        else:
            with pytest.raises(AddressRefused, match="too often"):
                fetcher().fetch("acme", address)


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "http://[::1]/",
        "file:///etc/passwd",
        "https://user:pass@example.com/",
        "//192.168.0.1/",
        "gopher://127.0.0.1/",
    ],
)
def test_a_redirect_into_our_network_is_refused(to: str) -> None:
    """Each hop passes the guard anew: a public page that points inside gets nobody anywhere."""
    answer = whole(b"", "302 Found", f"location: {to}")
    with serving(answering(answer)) as port, pytest.raises(AddressRefused):
        fetcher().fetch("acme", f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "https://example.com:22/",
        "https://a@b/",
    ],
)
def test_addresses_are_guarded_as_those_of_webhooks(url: str) -> None:
    """Without networks that the operator allows, only https to public addresses and ports."""
    guard = AddressGuard(resolver=lambda host, port: ["10.1.2.3"])
    with pytest.raises(AddressRefused):
        PictureFetcher(guard=guard).fetch("acme", url)


def test_a_name_is_resolved_once() -> None:
    """The connection goes to the address that was checked, whatever the name means a moment later."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    guard = AddressGuard(allow=ALLOW, resolver=lambda host, port: next(answers))
    with serving(answering(whole())) as port:
        assert PictureFetcher(guard=guard).fetch("acme", f"http://cdn.example:{port}/") == BODY


def drip(connection: socket.socket, _request: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    with suppress(OSError):
        for _ in range(600):
            connection.sendall(b"x")
            time.sleep(0.05)


def test_a_slow_answer_ends_at_the_time_limit() -> None:
    """However slowly bytes drip, and however many."""
    with serving(drip) as port, pytest.raises(AddressUnreachable, match="in time"):
        fetcher(total_seconds=0.3).fetch("acme", f"http://127.0.0.1:{port}/")


def test_a_host_that_keeps_us_waiting_is_left_alone_for_its_tenant() -> None:
    """After three timeouts its further addresses are refused at once, so that a manifest full of them ends; other tenants are not touched."""
    seen: list[str] = []

    def slow(connection: socket.socket, request: str) -> None:
        seen.append(request)
        drip(connection, request)

    with serving(slow) as port:
        patient = fetcher(total_seconds=0.2)
        for _ in range(5):
            with pytest.raises(AddressUnreachable):
                patient.fetch("acme", f"http://127.0.0.1:{port}/")
        assert len(patient._strikes) == 1
        with pytest.raises(AddressUnreachable, match="several times"):
            patient.fetch("acme", f"http://127.0.0.1:{port}/other")
        with pytest.raises(AddressUnreachable, match="in time"):
            patient.fetch("bolt", f"http://127.0.0.1:{port}/")

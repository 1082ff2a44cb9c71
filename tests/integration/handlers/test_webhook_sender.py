"""One attempt against real sockets: pinning, TLS names, time limits and every kind of answer."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork
from handlers.webhooks.sender import (
    Delivered,
    Failed,
    Gone,
    Message,
    Result,
    Retry,
    Sender,
    retry_after_seconds,
)
from handlers.webhooks.signature import tenant_secret, verify

SECRET = tenant_secret(bytes(32), "default")
ALLOW = (AllowedNetwork.parse("127.0.0.1/32:*"),)
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A listener on the loopback that hands each connection to `serve`; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def read_request(connection: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers with their names as sent, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return first, headers, body


def answering(answer: bytes, seen: list[tuple[str, dict[str, str], bytes]] | None = None) -> Serve:
    def serve(connection: socket.socket) -> None:
        request = read_request(connection)
        if seen is not None:
            seen.append(request)
        connection.sendall(answer)

    return serve


def send(url: str, sender: Sender | None = None) -> Result:
    message = Message(id="dlv_1", url=url, body='{"a": "é"}'.encode(), secrets=(SECRET,), traceparent=TRACE)
    return (sender or Sender(guard=AddressGuard(allow=ALLOW))).send(message)


def test_the_request_on_the_wire() -> None:
    """The exact body, verifiable headers with lower-case names, trace context, and the original Host."""
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with serving(answering(b"HTTP/1.1 204 No Content\r\n\r\n", seen)) as port:
        guard = AddressGuard(allow=ALLOW, resolver=lambda host, port: ["127.0.0.1"])
        assert send(f"http://hooks.example:{port}/a?b=c", Sender(guard=guard)) == Delivered(status=204)
    [(first, headers, body)] = seen
    assert first == "POST /a?b=c HTTP/1.1"
    assert headers["host"] == f"hooks.example:{port}"
    assert headers["traceparent"] == TRACE and headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("Aquatint") and "accept-encoding" not in headers
    assert verify([SECRET], headers, body, time.time()) == "dlv_1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Delivered(status=200)),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 9999999\r\n\r\n", Delivered(status=202)),
        (b"HTTP/1.1 410 Gone\r\n\r\n", Gone()),
        (b"HTTP/1.1 301 Moved\r\nlocation: https://example.com/\r\n\r\n", Failed(status=301, error="301")),
        (b"HTTP/1.1 307 Moved\r\nlocation: http://169.254.169.254/\r\n\r\n", Failed(status=307, error="307")),
        (b"HTTP/1.1 500 Oops\r\n\r\nit broke\x00\xff", Failed(status=500, error="500 it broke \ufffd")),
        (b"HTTP/1.1 404 No\r\n\r\n", Failed(status=404, error="404")),
        (
            b"HTTP/1.1 429 Slow\r\nretry-after: 120\r\n\r\n",
            Retry(status=429, after_seconds=120.0, error="429"),
        ),
        (b"HTTP/1.1 503 Busy\r\n\r\n", Retry(status=503, after_seconds=None, error="503")),
        (
            b"HTTP/1.1 502 Busy\r\nretry-after: soon\r\n\r\n",
            Retry(status=502, after_seconds=None, error="502"),
        ),
        (b"nonsense\r\n\r\n", Failed(status=None, error="BadStatusLine")),
        (b"", Failed(status=None, error="RemoteDisconnected")),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", Failed(status=None, error="HTTPException")),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70000 + b"\r\n\r\n", Failed(status=None, error="LineTooLong")),
    ],
)
def test_every_answer_has_its_type(answer: bytes, expected: Result) -> None:
    """2xx delivered, 410 gone, throttling retried with the receiver's wish; redirects and all else failed."""
    with serving(answering(answer)) as port:
        assert send(f"http://127.0.0.1:{port}/") == expected


def test_what_the_receiver_echoes_is_cut_and_cleaned() -> None:
    """Of an endless error body only its start is read, and signatures, secrets and link queries are removed."""
    told = b"HTTP/1.1 500 Oops\r\n\r\n" + f"bad v1,abc= {SECRET} https://x.example/?sig=1 ".encode()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(told)
        while True:
            connection.sendall(b"x" * 65536)

    with serving(serve) as port:
        result = send(f"http://127.0.0.1:{port}/")
    assert isinstance(result, Failed) and result.error.startswith(
        "500 bad [removed] [removed] https://x.example/[removed]"
    )
    assert len(result.error) <= 300


@pytest.mark.parametrize("where", ["status", "header", "silent", "request"])
def test_a_dripping_receiver_is_cut_off_by_the_total_time(where: str) -> None:
    """One byte at a time resets no timer: the attempt ends by the total, wherever the receiver dawdles."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        if where == "request":  # reads nothing, so that sending blocks
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            ended.wait(60)
            return
        read_request(connection)
        connection.sendall({"status": b"HTTP/1.1 2", "header": b"HTTP/1.1 200 OK\r\nx: "}.get(where, b""))
        while not ended.wait(0.02):
            if where != "silent":
                connection.sendall(b"0")

    with serving(serve) as port:
        sender = Sender(guard=AddressGuard(allow=ALLOW), total_seconds=0.5)
        body = b"x" * (20_000_000 if where == "request" else 10)
        message = Message(id="dlv_1", url=f"http://127.0.0.1:{port}/", body=body, secrets=(SECRET,))
        assert sender.send(message) == Failed(status=None, error="timed out")
        ended.set()


def test_a_slow_error_body_does_not_hide_the_status() -> None:
    """The status counts even when the body never ends."""
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\n\r\nwait")
        ended.wait(60)

    with serving(serve) as port:
        result = send(f"http://127.0.0.1:{port}/", Sender(guard=AddressGuard(allow=ALLOW), total_seconds=5))
        ended.set()
    assert isinstance(result, Retry) and result.after_seconds == 7


def test_rebinding_dns_gains_nothing() -> None:
    """The name is resolved once per attempt: a second, private answer is never asked for, and the first is refused if private."""
    asked: list[str] = []
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    # 127.0.0.1 plays the public address; 127.0.0.2, where a second listener waits, the forbidden one.
    with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        touched: list[int] = []
        with socket.create_server(("127.0.0.2", port)) as forbidden:
            forbidden.settimeout(0.2)
            sender = Sender(guard=AddressGuard(allow=ALLOW, resolver=resolver))
            assert send(f"http://rebind.example:{port}/", sender) == Delivered(status=200)
            assert asked == ["rebind.example"]
            second = send(f"http://rebind.example:{port}/", sender)
            assert isinstance(second, Failed) and second.error.startswith("address refused")
            with pytest.raises(TimeoutError):
                touched.append(forbidden.accept()[0].fileno())
        assert not touched


def test_the_next_address_is_tried_when_the_first_takes_no_connection() -> None:
    """Several checked addresses are tried in turn."""
    allow = (AllowedNetwork.parse("127.0.0.0/8:*"),)
    with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        guard = AddressGuard(allow=allow, resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"])
        assert send(f"http://two.example:{port}/", Sender(guard=guard)) == Delivered(status=200)


def test_nobody_listening_is_a_failure() -> None:
    """A refused connection is a failed attempt, without a status."""
    with serving(answering(b"")) as port:
        pass
    assert send(f"http://127.0.0.1:{port}/") == Failed(status=None, error="ConnectionRefusedError")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and key for hooks.example and 127.0.0.1 in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("hooks.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("host", "delivered"),
    [("hooks.example", True), ("127.0.0.1", True), ("other.example", False), ("hooks.example.evil", False)],
)
def test_the_certificate_must_be_for_the_name_in_the_address(
    certificate: Path, host: str, delivered: bool
) -> None:
    """SNI carries the customer's name and the certificate must match it, although the connection goes to an address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, context: names.append(name)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            answering(b"HTTP/1.1 200 OK\r\n\r\n")(secure)

    with serving(serve) as port:
        tls = ssl.create_default_context(cafile=str(certificate))
        guard = AddressGuard(allow=ALLOW, resolver=lambda host, port: ["127.0.0.1"])
        result = send(f"https://{host}:{port}/", Sender(guard=guard, tls=tls))
    if delivered:
        assert result == Delivered(status=200)
    else:
        assert isinstance(result, Failed) and result.error.startswith("certificate")
    assert names == [None if host == "127.0.0.1" else host]


def test_an_unknown_authority_is_refused(certificate: Path) -> None:
    """With the system's authorities, a self-signed receiver gets nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(connection: socket.socket) -> None:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with serving(serve) as port:
        result = send(f"https://127.0.0.1:{port}/")
    assert isinstance(result, Failed) and result.error.startswith("certificate")


def test_a_handshake_that_never_ends_is_cut_off() -> None:
    """The time limit of connecting covers TLS."""
    ended = threading.Event()
    with serving(lambda connection: (ended.wait(60), None)[1]) as port:
        sender = Sender(guard=AddressGuard(allow=ALLOW), connect_seconds=0.3)
        assert send(f"https://127.0.0.1:{port}/", sender) == Failed(status=None, error="timed out")
        ended.set()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("", None), ("0", 0), ("30", 30), ("-1", None), ("1.5", None), ("١", None), ("9" * 30, None), ("nonsense", None),
     ("Thu, 01 Jan 1970 00:02:00 GMT", 20), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 99 Jan 9999 00:00:00 GMT", None)],
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds or an HTTP date; anything else counts as absent."""
    assert retry_after_seconds(value, now=100.0) == seconds

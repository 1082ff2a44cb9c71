"""Reports that go over HTTPS."""

from __future__ import annotations

import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadSettings, QueueUnavailable
from schemas.outcome import Heartbeat
from storage.broker.connection import Backoff
from storage.report_signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign, verify
from workers.http_reporter import HttpReporter

SECRET = b"a secret of this test"
REPORT = Heartbeat(worker="wrk_1", pool="modal", queue="", at=1.0)


class Api:
    """Answers with the codes given, the last one for ever, and keeps what it was sent."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)


def a_reporter(api: Api) -> HttpReporter:
    client = httpx.Client(transport=httpx.MockTransport(api))
    return HttpReporter(
        "https://api.example/v1/outcomes",
        SECRET,
        client=client,
        backoff=Backoff(first_seconds=0.001, give_up_seconds=0.2),
    )


def test_report_is_signed() -> None:
    """The API can verify exact body and time of what it gets, and reads the report from it."""
    api = Api(204)
    a_reporter(api).report(REPORT)
    (request,) = api.requests
    stamp, signature = request.headers[TIMESTAMP_HEADER], request.headers[SIGNATURE_HEADER]
    assert verify(SECRET, stamp, request.content, signature, now=time.time())
    assert Heartbeat.model_validate_json(request.content) == REPORT


def test_passing_trouble_is_waited_out() -> None:
    """A server error and a lost connection are tried again until the API has the report."""
    api = Api(503, httpx.ConnectError("no route"), 204)
    a_reporter(api).report(REPORT)
    assert len(api.requests) == 3


def test_lasting_trouble_is_a_typed_error() -> None:
    """An API that stays away, or redirects, ends in `QueueUnavailable`; one that refuses the signature in `BadSettings`."""
    for answer in (500, 302):
        with pytest.raises(QueueUnavailable):
            a_reporter(Api(answer)).report(REPORT)
    with pytest.raises(BadSettings):
        a_reporter(Api(401)).report(REPORT)
    with pytest.raises(BadSettings):
        HttpReporter("https://api.example", b"")


@given(body=st.binary(max_size=200), other=st.binary(max_size=200), now=st.integers(0, 2**40))
def test_only_the_signed_bytes_verify(body: bytes, other: bytes, now: int) -> None:
    """Another body, secret or time does not verify, nor does a signature of another age."""
    signature = sign(SECRET, now, body)
    assert verify(SECRET, str(now), body, signature, now=now + 299)
    assert verify(SECRET, str(now), other, signature, now=now) == (body == other)
    assert not verify(b"another", str(now), body, signature, now=now)
    assert not verify(SECRET, str(now + 1), body, signature, now=now)
    assert not verify(SECRET, str(now), body, signature, now=now + 301)
    assert not verify(b"", str(now), body, sign(b"", now, body), now=now)


@given(stamp=st.text(max_size=10), signature=st.text(max_size=80))
def test_garbage_does_not_verify(stamp: str, signature: str) -> None:
    """Headers that nobody signed are refused without an exception."""
    assert not verify(SECRET, stamp, b"{}", signature, now=0.0)

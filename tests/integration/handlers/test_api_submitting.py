"""The HTTP API: every way in, and every way to be refused."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_world import ACME, BOLT, TRACE, Api, count, problem
from fastapi.testclient import TestClient
from sqlalchemy import select

from handlers.api.ports import Accepted
from handlers.api.request_body import MAX_BODY_BYTES
from schemas.cloudevent import CloudEvent
from schemas.errors import LedgerBusy
from storage.ledger import tables


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "malformed_json", None),
        (b"", 400, "malformed_json", None),
        (b"\xff\xfe", 400, "malformed_json", None),
        (b'{"prompt": "a"} x', 400, "malformed_json", None),
        (b"[" * 100_000, 400, "malformed_json", None),
        (b"[]", 422, "wrong_type", None),
        (b"null", 422, "wrong_type", None),
        (b"{}", 422, "missing_field", "prompt"),
        (b'{"prompt": ""}', 422, "out_of_range", "prompt"),
        (b'{"prompt": 5}', 422, "wrong_type", "prompt"),
        (b'{"prompt": "a", "promt": "b"}', 422, "unknown_field", "promt"),
        (b'{"prompt": "a", "n": 65}', 422, "out_of_range", "n"),
        (b'{"prompt": "a", "n": 1.5}', 422, "wrong_type", "n"),
        (b'{"prompt": "a", "guidance": NaN}', 422, "out_of_range", "guidance"),
        (b'{"prompt": "a", "size": "9x9"}', 422, "out_of_range", "size.0"),
        (b'{"prompt": "a", "size": "512x512"}', 422, "out_of_range", "size"),
        (b'{"prompt": "a", "model": "none"}', 422, "unsupported", "model"),
        (b'{"prompt": "a", "output": {"key": "a\\u0000b"}}', 422, "out_of_range", "output.key"),
        (b'{"prompt": "a", "output": {"format": "gif"}}', 422, "out_of_range", "output.format"),
        (b'{"prompt": "a", "start_by": "2020-01-01T00:00:00"}', 422, "out_of_range", "start_by"),
        (
            b'{"prompt": "a", "webhook": {"url": "https://internal.example/"}}',
            422,
            "address_refused",
            "webhook.url",
        ),
        (
            b'{"prompt": "a", "webhook": {"url": "http://example.com/"}}',
            422,
            "address_refused",
            "webhook.url",
        ),
        (
            b'{"prompt": "a", "webhook": {"url": "https://169.254.169.254/"}}',
            422,
            "address_refused",
            "webhook.url",
        ),
        (json.dumps({"prompt": "a" * 2001}).encode(), 422, "out_of_range", "prompt"),
    ],
)
def test_bad_requests_are_named_and_leave_nothing(
    api: Api, body: bytes, status: int, code: str, field: str | None
) -> None:
    """Each fault is a typed problem that names the field; no row is written, and an idempotency key stays free."""
    headers = {**ACME, "content-type": "application/json", "idempotency-key": "k"}
    told = problem(api.call("POST", "/v1/jobs", headers, content=body), status, code, field)
    assert told["actor"] == "caller"
    assert (
        count(api, tables.job)
        == count(api, tables.image)
        == count(api, tables.event)
        == count(api, tables.idempotency)
        == 0
    )


def test_limits_are_stated(api: Api) -> None:
    """The problem holds the limit that was passed."""
    assert problem(api.submit(n=65), 422, "out_of_range", "n")["limit"] == 64
    assert problem(api.submit("a" * 2001), 422, "out_of_range", "prompt")["limit"] == 2000


def test_bodies_over_the_limit_are_refused_as_they_come(api: Api) -> None:
    """413 for a body that announces too much, and for one that streams on without a length."""
    headers = {**ACME, "content-type": "application/json"}
    whole = b" " * (MAX_BODY_BYTES + 1)
    assert (
        problem(api.call("POST", "/v1/jobs", headers, content=whole), 413, "body_too_large")["limit"]
        == MAX_BODY_BYTES
    )
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100_000

    problem(
        api.call(
            "POST", "/v1/events", {**ACME, "content-type": "application/cloudevents+json"}, content=endless()
        ),
        413,
        "body_too_large",
    )
    fitting = json.dumps({"prompt": "a red mug"}).encode().ljust(MAX_BODY_BYTES)
    assert api.call("POST", "/v1/jobs", headers, content=fitting).status_code == 202


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/json; charset=latin-1", "multipart/form-data", "application/jsonx"],
)
def test_other_content_types_are_refused(api: Api, kind: str) -> None:
    """415 names the header and what is read instead."""
    problem(
        api.call("POST", "/v1/jobs", {**ACME, "content-type": kind}, content=b'{"prompt": "a"}'),
        415,
        "wrong_media_type",
        "content-type",
    )


def test_idempotent_repeats_get_the_first_answer(api: Api) -> None:
    """Quoted or bare, the same key and body give the same answer and one job; other bodies, tenants and malformed keys do not."""
    first = api.submit(headers={**ACME, "idempotency-key": '"k-1"'})
    again = api.submit(headers={**ACME, "idempotency-key": "k-1"})
    assert (again.status_code, again.json(), again.headers["location"]) == (
        202,
        first.json(),
        first.headers["location"],
    )
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert count(api, tables.job) == 1
    problem(
        api.submit("another", headers={**ACME, "idempotency-key": "k-1"}),
        422,
        "idempotency_conflict",
        "Idempotency-Key",
    )
    assert api.submit(headers={**BOLT, "idempotency-key": "k-1"}).json()["id"] != first.json()["id"]
    for key in ("", '""', '"a', "a b", "x" * 256, '"a"b"'):
        problem(api.submit(headers={**ACME, "idempotency-key": key}), 422, "out_of_range", "Idempotency-Key")


def test_a_repeat_while_the_first_is_running_is_told_so(api: Api) -> None:
    """409 with Retry-After, and afterwards the stored answer."""
    api.intake.gate, headers = threading.Event(), {**ACME, "idempotency-key": "k"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.submit, headers=headers)
        while not api.intake.events:
            time.sleep(0.01)
        busy = api.submit(headers=headers)
        problem(busy, 409, "still_running", "Idempotency-Key")
        assert busy.headers["retry-after"]
        api.intake.gate.set()
        answer = first.result()
    assert api.submit(headers=headers).json() == answer.json()


def test_a_failed_request_frees_its_key(api: Api) -> None:
    """After a temporary fault the same key and body are accepted."""
    headers, api.intake.fault = {**ACME, "idempotency-key": "k"}, LedgerBusy()
    assert api.submit(headers=headers).status_code == 503
    api.intake.fault = None
    assert api.submit(headers=headers).status_code == 202


def test_a_process_that_died_half_way_doubles_nothing(api: Api) -> None:
    """Accepted, but killed before the answer was stored: the repeat is the same job."""
    clock = [1000.0]
    dying = api.with_deps(clock=lambda: clock[0])
    dying = TestClient(dying.app)
    headers = {**ACME, "idempotency-key": "k"}

    class Died(BaseException):
        pass

    accept = api.intake.intake.accept

    def accept_and_die(event: CloudEvent, tenant: str) -> Accepted:
        accept(event, tenant)
        raise Died

    api.intake.intake.accept = accept_and_die  # type: ignore[method-assign]
    with pytest.raises(Died):
        dying.post("/v1/jobs", json={"prompt": "a"}, headers=headers)
    api.intake.intake.accept = accept  # type: ignore[method-assign]
    assert dying.post("/v1/jobs", json={"prompt": "a"}, headers=headers).status_code == 409
    clock[0] += 61
    repeat = dying.post("/v1/jobs", json={"prompt": "a"}, headers=headers)
    assert repeat.status_code == 202 and repeat.json()["duplicate"]
    assert count(api, tables.job) == 1


EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop",
    "type": "io.aquatint.generation.requested",
    "data": {"prompt": "a mug"},
}


STRUCTURED = {**ACME, "content-type": "application/cloudevents+json; charset=utf-8"}


def binary(**more: str) -> dict[str, str]:
    attributes = {f"ce-{name}": value for name, value in EVENT.items() if isinstance(value, str)}
    return {**ACME, "content-type": "application/json", **attributes, **more}


def test_events_in_both_modes_are_the_same_event(api: Api) -> None:
    """Structured, then binary with the same source and id: one job, recognised as a repeat."""
    first = api.call("POST", "/v1/events", STRUCTURED, content=json.dumps(EVENT))
    again = api.call("POST", "/v1/events", binary(), content=json.dumps(EVENT["data"]))
    assert first.status_code == again.status_code == 202
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    assert first.json()["id"] == again.json()["id"] and first.headers["location"] == again.headers["location"]
    assert count(api, tables.job) == 1


def test_events_made_by_the_cloudevents_package_are_understood(api: Api) -> None:
    """What the reference SDK writes, in either mode, with an attribute outside ASCII."""
    from cloudevents.core.bindings.http import to_binary, to_structured
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent as Reference

    for number, write in enumerate((to_structured, to_binary)):
        attributes = {"type": EVENT["type"], "source": "/läden", "id": f"e{number}", "specversion": "1.0", "subject": "tasse é%",
                      "datacontenttype": "application/json"}  # fmt: skip
        message = write(Reference(attributes=attributes, data=EVENT["data"]), JSONFormat())
        answer = api.call("POST", "/v1/events", {**ACME, **message.headers}, content=message.body)
        assert answer.status_code == 202, answer.text
        assert (api.intake.events[-1].source, api.intake.events[-1].subject) == ("/läden", "tasse é%")


@pytest.mark.parametrize(
    ("headers", "body", "status", "code", "field"),
    [
        (STRUCTURED, b"{", 400, "malformed_json", None),
        (STRUCTURED, b"[1]", 422, "wrong_type", None),
        (STRUCTURED, json.dumps({**EVENT, "specversion": "0.3"}), 422, "out_of_range", "specversion"),
        (STRUCTURED, json.dumps({**EVENT, "id": ""}), 422, "out_of_range", "id"),
        (STRUCTURED, json.dumps({**EVENT, "source": "a\x00b"}), 422, "out_of_range", "source"),
        (STRUCTURED, json.dumps({**EVENT, "source": "\ud800"}), 422, "wrong_type", "source"),
        (STRUCTURED, json.dumps({**EVENT, "Bad-Name": "x"}), 422, "out_of_range", None),
        (STRUCTURED, json.dumps({**EVENT, "type": "io.aquatint.unknown"}), 422, "unsupported", "type"),
        (STRUCTURED, json.dumps({**EVENT, "type": "io.aquatint.object.created"}), 422, "unsupported", "type"),
        (STRUCTURED, json.dumps({**EVENT, "data": {"prompt": 5}}), 422, "wrong_type", "prompt"),
        (STRUCTURED, json.dumps(EVENT).replace('"a mug"', "NaN"), 400, "malformed_json", None),
        (
            {**ACME, "content-type": "application/json"},
            json.dumps(EVENT),
            415,
            "wrong_media_type",
            "content-type",
        ),
        (
            {**ACME, "content-type": "application/cloudevents-batch+json"},
            json.dumps([EVENT]),
            415,
            "wrong_media_type",
            "content-type",
        ),
        (binary(**{"content-type": "text/plain"}), b"x", 415, "wrong_media_type", "content-type"),
        (binary(**{"ce-data": "x"}), b"{}", 422, "out_of_range", "ce-data"),
        (binary(**{"ce-subject": "%ff"}), b"{}", 422, "out_of_range", "ce-headers"),
        (
            {name: value for name, value in binary().items() if name != "ce-id"},
            b"{}",
            422,
            "missing_field",
            "id",
        ),
    ],
)
def test_bad_events(
    api: Api, headers: dict[str, str], body: Any, status: int, code: str, field: str | None
) -> None:
    """Each fault of an event is a typed problem, and nothing is written."""
    problem(api.call("POST", "/v1/events", headers, content=body), status, code, field)
    assert count(api, tables.job) == 0


def test_traces_go_on_under_our_own_sampling(api: Api) -> None:
    """The caller's trace id reaches the job with a span of ours; its sampling flag and state are not obeyed."""
    api.submit(headers={**ACME, "traceparent": TRACE})
    api.call(
        "POST",
        "/v1/events",
        STRUCTURED,
        content=json.dumps({**EVENT, "traceparent": TRACE, "tracestate": "x=y"}),
    )
    api.submit(headers={**ACME, "traceparent": "nonsense"})
    with api.ledger.read() as conn:
        spans = conn.execute(select(tables.job.c.traceparent).order_by(tables.job.c.id)).scalars().all()
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", span) for span in spans)
    assert [TRACE[3:35], TRACE[3:35]] == [span[3:35] for span in spans[:2]]
    assert len({span[36:52] for span in [TRACE, *spans]}) == 4
    assert spans[2][3:35] != TRACE[3:35]
    assert all("tracestate" not in (event.model_extra or {}) for event in api.intake.events)


NOTE = {"Records": [{"eventVersion": "2.2", "eventSource": "ceph:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "uploads"}, "object": {"key": "spring list.csv", "size": 5, "eTag": "abc", "versionId": ""}}}]}  # fmt: skip


def test_stores_announce_uploads_with_the_operators_token(api: Api) -> None:
    """By header or by path: one batch, a repeat recognised; a tenant's own token, or none, announces nothing."""
    headers = {"authorization": "Bearer store-token"}
    first = api.call("POST", "/v1/notifications/s3", headers, json=NOTE)
    again = api.call("POST", "/v1/notifications/s3/store-token", {}, json=NOTE)
    assert first.status_code == again.status_code == 200, first.text
    [one], [two] = first.json()["accepted"], again.json()["accepted"]
    assert (one["kind"], one["duplicate"], two["duplicate"], one["id"]) == ("batch", False, True, two["id"])
    batch = api.call("GET", one["url"]).json()
    assert (batch["source"], batch["phase"], batch["state"]) == (
        "s3://uploads/spring list.csv",
        "planning",
        "queued",
    ) or batch["phase"] == "planning"
    problem(api.call("GET", one["url"], BOLT), 404, "not_found", "id")
    for path, wrong in (
        ("/v1/notifications/s3", ACME),
        ("/v1/notifications/s3/token-a", {}),
        ("/v1/notifications/s3", {}),
    ):
        problem(api.call("POST", path, wrong, json=NOTE), 401, "unauthorised", "authorization")
    problem(
        api.with_deps(notification_token="").post("/v1/notifications/s3/x", json=NOTE),
        401,
        "unauthorised",
        "authorization",
    )
    assert api.with_deps(tokens={}).post("/v1/notifications/s3", json=NOTE).status_code == 200


def test_notifications_of_nothing_new_are_acknowledged(api: Api) -> None:
    """Test messages and uploads that no trigger wants are answered 200; what is not JSON is 400."""
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}
    answer = api.call("POST", "/v1/notifications/s3/store-token", {}, json=test).json()
    assert answer["accepted"] == [] and len(answer["ignored"]) == 1
    other = json.loads(json.dumps(NOTE).replace("spring list.csv", "photo.png"))
    [ignored] = api.call("POST", "/v1/notifications/s3/store-token", {}, json=other).json()["accepted"]
    assert (ignored["kind"], ignored["id"], ignored["url"]) == ("ignored", None, None)
    problem(api.call("POST", "/v1/notifications/s3/store-token", {}, content=b"{"), 400, "malformed_json")

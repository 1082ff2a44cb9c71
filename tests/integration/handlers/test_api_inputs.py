"""Pictures sent over HTTP: taken in once, within limits, for their tenant alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest
from api_world import ACME, BOLT, Api, count, problem
from pictures import a_picture, as_file
from sqlalchemy import select

from schemas.input_image import MAX_INPUT_BYTES
from schemas.object_keys import input_key
from storage.ledger import tables

PNG = as_file(a_picture())
SHA = hashlib.sha256(PNG).hexdigest()


def send(
    api: Api, data: bytes | Iterator[bytes] = PNG, headers: dict[str, str] = ACME, kind: str = "image/png"
):  # type: ignore[no-untyped-def]
    return api.call("POST", "/v1/inputs", {**headers, "content-type": kind}, content=data)


def test_a_picture_is_taken_in_and_can_be_named(api: Api) -> None:
    """The answer names the picture; a request with that name is accepted and carries its digest."""
    answer = send(api)
    assert (answer.status_code, answer.json()) == (
        201,
        {"reference": f"inputs/{SHA}", "media_type": "image/png", "width": 40, "height": 24},
    )
    accepted = api.submit(image=answer.json()["reference"], strength=0.4)
    assert accepted.status_code == 202, accepted.text
    with api.ledger.read() as conn:
        (spec,) = conn.execute(select(tables.image.c.spec)).scalars()
    assert (json.loads(spec)["image"], json.loads(spec)["strength"]) == (SHA, 0.4)


def test_sending_again_is_harmless(api: Api) -> None:
    """The same bytes get the same answer and lie there once, whatever image type they are declared as."""
    first, again = send(api), send(api, kind="image/jpeg; q=1")
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    kept = f"tenants/acme/{input_key(SHA)}"
    assert [entry.key for entry in api.store.list()] == [kept, f"{kept}.json"]


def test_what_another_tenant_sent_is_not_there(api: Api) -> None:
    """The digest of somebody else's picture names nothing, and does not tell that it exists."""
    send(api)
    problem(api.submit(headers=BOLT, image=f"inputs/{SHA}"), 422, "input_missing", "image")
    problem(api.submit(headers=BOLT, image=f"results/inputs/{SHA[:2]}/{SHA}"), 422, "out_of_range", "image")
    problem(
        api.submit(headers=BOLT, image=f"results/tenants/acme/{input_key(SHA)}"), 422, "out_of_range", "image"
    )
    assert count(api, tables.job) == 0


@pytest.mark.parametrize(
    ("data", "kind", "status", "code", "field"),
    [
        (PNG, "application/json", 415, "wrong_media_type", "content-type"),
        (PNG, "", 415, "wrong_media_type", "content-type"),
        (PNG, "multipart/form-data; boundary=x", 415, "wrong_media_type", "content-type"),
        (b"", "image/png", 422, "image_unsupported", None),
        (b"<svg/>", "image/svg+xml", 422, "image_unsupported", None),
        (PNG[:-60], "image/png", 422, "image_damaged", None),
    ],
)
def test_what_is_no_picture_is_refused(
    api: Api, data: bytes, kind: str, status: int, code: str, field: str | None
) -> None:
    """A typed problem, and nothing is stored."""
    problem(send(api, data, kind=kind), status, code, field)
    assert list(api.store.list()) == []


def test_too_large_a_body_is_cut_short(api: Api) -> None:
    """A body that passes the limit is refused, announced or streamed without a length."""
    told = problem(send(api, bytes(MAX_INPUT_BYTES + 1)), 413, "body_too_large")
    assert told["limit"] == MAX_INPUT_BYTES

    def endless() -> Iterator[bytes]:
        for _ in range(MAX_INPUT_BYTES // 2**20 + 2):
            yield bytes(2**20)

    problem(send(api, endless()), 413, "body_too_large")


def test_strangers_send_nothing(api: Api) -> None:
    """Without a valid token the body is not even looked at."""
    problem(send(api, bytes(MAX_INPUT_BYTES + 1), headers={}), 401, "unauthorised", "authorization")


def test_requests_that_cannot_be_planned_leave_nothing(api: Api) -> None:
    """An address instead of a file, a mask without its image, a kind of control that the model lacks."""
    problem(api.submit(image="https://shop.example/a.png"), 422, "unsupported", "image")
    problem(api.submit(mask=f"inputs/{SHA}"), 422, "missing_field", "image")
    control = [{"kind": "edges", "image": f"inputs/{SHA}"}]
    problem(api.submit(control=control), 422, "unsupported", "control.0.kind")
    assert count(api, tables.job) == 0

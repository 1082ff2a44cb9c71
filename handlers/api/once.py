"""Requests with an Idempotency-Key: a repeat gets the first answer again, whatever was done in between."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import Request
from starlette.responses import Response

from handlers.api.ports import ApiDeps
from schemas.errors import OutOfRange
from schemas.ids import new_id
from storage.ledger import idempotency
from storage.ledger.idempotency import Fresh, Replay, Scope

#: For the OpenAPI description of a route.
HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255},
    "description": "A repeat with the same key and body within 24 hours gets the first answer again.",
}

_KEY = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"|([!#-~]{1,255})')


def answer_once(
    request: Request, deps: ApiDeps, tenant: str, route: str, body: bytes, submit: Callable[[str], Response]
) -> Response:
    """What `submit` answers, given the id of an event, or what it answered to the same key and body before."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return submit(new_id("evt"))
    return _kept(deps, Scope(tenant=tenant, route=route, key=_parsed(key)), body, submit)


def _kept(deps: ApiDeps, scope: Scope, body: bytes, submit: Callable[[str], Response]) -> Response:
    with deps.ledger.begin(wake=False) as conn:
        begun = idempotency.begin(conn, scope, idempotency.fingerprint(body), deps.clock())
    if isinstance(begun, Replay):
        return Response(
            begun.body, begun.status, {**begun.headers, "idempotency-replayed": "true"}, "application/json"
        )
    assert isinstance(begun, Fresh)
    try:
        # Named by the token: if this process dies before `finish`, the repeat is recognised as the same event.
        answer = submit(begun.token)
    except Exception:
        with deps.ledger.begin(wake=False) as conn:
            idempotency.forget(conn, scope)
        raise
    headers = {name: answer.headers[name] for name in ("location", "retry-after") if name in answer.headers}
    with deps.ledger.begin(wake=False) as conn:
        idempotency.finish(
            conn, scope, status=answer.status_code, headers=headers, body=bytes(answer.body).decode()
        )
    return answer


def _parsed(key: str) -> str:
    """The Idempotency-Key: a quoted string as the draft wants it, or a bare word as most clients send it."""
    match = _KEY.fullmatch(key.strip())
    if match is None:
        raise OutOfRange("1 to 255 printable ASCII characters", field="Idempotency-Key", limit=255)
    return match[1] or match[2]

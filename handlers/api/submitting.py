"""Ways in: requests, events, and notifications of uploads."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from handlers.api.caller import DEFAULT_TENANT, Deps, Tenant, bearer_token, require_notification_token
from handlers.api.once import HEADER as IDEMPOTENCY_KEY
from handlers.api.once import answer_once
from handlers.api.ports import Accepted, ApiDeps
from handlers.api.request_body import Body, media_type, require_media_type
from handlers.api.trace import continue_trace, new_traceparent
from handlers.api.views import AcceptedView, NotificationView
from schemas.cloudevent import GENERATION_REQUESTED, OBJECT_CREATED, CloudEvent
from schemas.errors import MalformedJson, OutOfRange, Unsupported, WrongMediaType
from schemas.problem import from_validation
from schemas.request import GenerationRequest
from schemas.s3_notification import read_notification

#: `source` of the events that requests become.
SOURCE = "/v1/jobs"
STRUCTURED = "application/cloudevents+json"

_POLL_SECONDS = "1"
#: Where to look for what an event became.
_PLACES = {"job": "jobs", "batch": "batches", "finetune": "finetunes"}

routes = APIRouter()


def body_of(schema: str, *media_types: str) -> dict[str, Any]:
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for kind in media_types}
    return {"requestBody": {"required": True, "content": content}}


@routes.post(
    "/v1/jobs",
    status_code=202,
    response_model=AcceptedView,
    openapi_extra=body_of("GenerationRequest", "application/json") | {"parameters": [IDEMPOTENCY_KEY]},
)
def submit_job(request: Request, body: Body, tenant: Tenant, deps: Deps) -> Response:
    """Ask for pictures. The answer comes when the request is kept safe, long before the pictures are made."""
    require_media_type(request, "application/json")
    try:
        wanted = GenerationRequest.model_validate_json(body)
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    return answer_once(
        request, deps, tenant, SOURCE, body, lambda id: _submit(request, deps, tenant, wanted, id)
    )


def _submit(request: Request, deps: ApiDeps, tenant: str, wanted: GenerationRequest, id: str) -> Response:
    data = wanted.model_dump(mode="json", exclude_unset=True)
    event = CloudEvent(specversion="1.0", id=id, source=SOURCE, type=GENERATION_REQUESTED, data=data)
    event = continue_trace(event, request.headers.get("traceparent"))
    # 202 says that it is kept: `accept` has committed the job and its images when it returns.
    return accepted_answer(deps.intake.accept(event, tenant))


@routes.post(
    "/v1/events",
    status_code=202,
    response_model=AcceptedView,
    openapi_extra=body_of("CloudEvent", STRUCTURED),
)
def submit_event(request: Request, body: Body, tenant: Tenant, deps: Deps) -> Response:
    """Take in a CloudEvent 1.0, structured, or binary with `ce-` headers. `source` and `id` recognise a repeat."""
    values = _binary(request, body) if "ce-specversion" in request.headers else _structured(request, body)
    try:
        event = CloudEvent.model_validate(values)
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    if event.type == OBJECT_CREATED and deps.tokens:
        raise Unsupported("uploads are announced by their store, at /v1/notifications/s3", field="type")
    # As above: committed before it is acknowledged.
    return accepted_answer(
        deps.intake.accept(continue_trace(event, request.headers.get("traceparent")), tenant)
    )


def _structured(request: Request, body: bytes) -> Any:
    require_media_type(request, STRUCTURED)
    return _json(body)


def _binary(request: Request, body: bytes) -> dict[str, Any]:
    kind = media_type(request)
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise WrongMediaType(
            "the data of an event must be JSON", field="content-type", limit="application/json"
        )
    try:
        pairs = [
            (name[3:], unquote(value, errors="strict"))
            for name, value in request.headers.items()
            if name.startswith("ce-")
        ]
    except UnicodeDecodeError as error:
        raise OutOfRange("a ce- header is not percent-encoded UTF-8", field="ce-headers") from error
    reserved = {"data", "datacontenttype", "data_base64"} & {name for name, _ in pairs}
    if reserved:
        name = reserved.pop()
        raise OutOfRange("this attribute has no ce- header", field=f"ce-{name}")
    return {**dict(pairs), "datacontenttype": kind or None, "data": _json(body) if body else None}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedJson from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@routes.post("/v1/notifications/s3", response_model=NotificationView)
@routes.post("/v1/notifications/s3/{token}", response_model=NotificationView)
def submit_notification(
    request: Request, body: Body, deps: Deps, token: str | None = None
) -> NotificationView:
    """Take in an S3 notification as Ceph RGW, MinIO, SNS and EventBridge push it.

    With the notification token as bearer, or as the last part of the address for stores that cannot send a header.
    """
    if deps.tokens:
        require_notification_token(deps, token or bearer_token(request))
    notification = read_notification(body)
    # Each object is committed before the whole is acknowledged; a repeat after a failure half way is recognised.
    accepted = [
        deps.intake.object_created(found, DEFAULT_TENANT, traceparent=new_traceparent())
        for found in notification.events
    ]
    return NotificationView(accepted=tuple(map(_view, accepted)), ignored=notification.ignored)


def _view(accepted: Accepted) -> AcceptedView:
    url = f"/v1/{_PLACES[accepted.kind]}/{accepted.id}" if accepted.id else None
    return AcceptedView(id=accepted.id, kind=accepted.kind, duplicate=accepted.duplicate, url=url)


def accepted_answer(accepted: Accepted) -> Response:
    view = _view(accepted)
    headers = {"location": view.url, "retry-after": _POLL_SECONDS} if view.url else {}
    return Response(view.model_dump_json(), 202, headers, "application/json")

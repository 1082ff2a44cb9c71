"""Fine-tunes and the adapters that come of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from handlers.api.caller import Deps, Tenant
from handlers.api.once import HEADER as IDEMPOTENCY_KEY
from handlers.api.once import answer_once
from handlers.api.ports import ApiDeps
from handlers.api.request_body import Body, require_media_type
from handlers.api.submitting import accepted_answer, body_of
from handlers.api.trace import continue_trace
from handlers.api.views import (
    ID_PATTERN,
    AcceptedView,
    AdaptersView,
    AdapterView,
    FinetunesView,
    FinetuneView,
    moment,
)
from handlers.cancel import cancel_finetune
from handlers.notices import finetune_summary
from schemas.cloudevent import FINETUNE_REQUESTED, CloudEvent
from schemas.errors import NotFound
from schemas.finetune import ADAPTER_NAME, FinetuneRequest, FinetuneState, Progress
from schemas.ids import is_id
from schemas.problem import from_validation
from storage.ledger import adapters, finetunes, trainers
from storage.ledger.adapters import AdapterRow
from storage.ledger.sql import AnyRow
from storage.ledger.trainers import TrainerRecord

#: `source` of the events that requests become.
SOURCE = "/v1/finetunes"
#: A trainer that was not heard of for so long does not count as one.
_TRAINER_SECONDS = 60.0
#: `next` of a page of adapters. Anything else names nothing, and some databases cannot even be asked for it.
_AFTER_PATTERN = r"^[A-Za-z0-9._-]{0,64}$"

Before = Annotated[str | None, Query(pattern=ID_PATTERN, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500)]

routes = APIRouter()


@routes.post(
    SOURCE,
    status_code=202,
    response_model=AcceptedView,
    openapi_extra=body_of("FinetuneRequest", "application/json") | {"parameters": [IDEMPOTENCY_KEY]},
)
def submit_finetune(request: Request, body: Body, tenant: Tenant, deps: Deps) -> Response:
    """Ask for an adapter that has learnt the look of your pictures. The answer comes when the request is kept safe."""
    require_media_type(request, "application/json")
    try:
        wanted = FinetuneRequest.model_validate_json(body)
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    return answer_once(
        request, deps, tenant, SOURCE, body, lambda id: _submit(request, deps, tenant, wanted, id)
    )


def _submit(request: Request, deps: ApiDeps, tenant: str, wanted: FinetuneRequest, id: str) -> Response:
    data = wanted.model_dump(mode="json", exclude_unset=True)
    event = CloudEvent(specversion="1.0", id=id, source=SOURCE, type=FINETUNE_REQUESTED, data=data)
    # 202 says that it is kept: `accept` has committed the fine-tune when it returns.
    return accepted_answer(
        deps.intake.accept(continue_trace(event, request.headers.get("traceparent")), tenant)
    )


@routes.get("/v1/finetunes", response_model=FinetunesView)
def list_finetunes(tenant: Tenant, deps: Deps, before: Before = None, limit: Limit = 100) -> FinetunesView:
    """This tenant's fine-tunes, newest first."""
    with deps.ledger.read() as conn:
        found = finetunes.of_tenant(conn, tenant, before=before, limit=limit + 1)
        known = trainers.everyone(conn)
    page = found[:limit]
    views = tuple(_finetune(row, known, deps.clock()) for row in page)
    return FinetunesView(finetunes=views, next=page[-1].id if len(found) > limit else None)


@routes.get("/v1/finetunes/{id}", response_model=FinetuneView)
def get_finetune(id: str, tenant: Tenant, deps: Deps) -> FinetuneView:
    """A fine-tune: how far it is, and when it has ended, its adapter or what was wrong."""
    with deps.ledger.read() as conn:
        row = finetunes.get(conn, tenant=tenant, id=id) if is_id(id, "fin") else None
        known = trainers.everyone(conn)
    if row is None:
        raise NotFound("there is no such fine-tune", field="id")
    return _finetune(row, known, deps.clock())


@routes.delete("/v1/finetunes/{id}", response_model=FinetuneView)
def cancel_this_finetune(id: str, tenant: Tenant, deps: Deps) -> FinetuneView:
    """Cancel a fine-tune; one that is being trained stops at its next step. Canceling twice is no error."""
    if not is_id(id, "fin"):
        raise NotFound("there is no such fine-tune", field="id")
    with deps.ledger.begin() as conn:
        cancel_finetune(conn, tenant=tenant, id=id, now=deps.clock())
    return get_finetune(id, tenant, deps)


@routes.get("/v1/adapters", response_model=AdaptersView)
def list_adapters(
    tenant: Tenant,
    deps: Deps,
    after: Annotated[str, Query(pattern=_AFTER_PATTERN, description="`next` of the page before.")] = "",
    limit: Limit = 100,
) -> AdaptersView:
    """The adapters that this tenant's requests may name, by name."""
    with deps.ledger.read() as conn:
        found = adapters.of_tenant(conn, tenant, after=after, limit=limit + 1)
    page = found[:limit]
    return AdaptersView(
        adapters=tuple(map(_adapter, page)), next=page[-1].name if len(found) > limit else None
    )


@routes.delete("/v1/adapters/{name}", status_code=204, response_class=Response)
def remove_adapter(name: str, tenant: Tenant, deps: Deps) -> Response:
    """Forget the name. Images that were accepted with the adapter are still rendered with it."""
    with deps.ledger.begin(wake=False) as conn:
        if not re.fullmatch(ADAPTER_NAME, name) or not adapters.remove(conn, tenant, name, deps.clock()):
            raise NotFound("there is no such adapter", field="name")
    return Response(status_code=204)


def _finetune(row: AnyRow, known: Sequence[TrainerRecord], now: float) -> FinetuneView:
    summary = finetune_summary(row)
    waiting_for = None
    if summary.state is FinetuneState.QUEUED:
        fresh = any(one.accepting and now - one.seen_at <= _TRAINER_SECONDS for one in known)
        waiting_for = "turn" if fresh else "trainer"
    return FinetuneView.model_validate(
        {
            **dict(summary),
            "progress": Progress.model_validate_json(row.progress) if row.progress else None,
            "attempts": row.attempts,
            "waiting_for": waiting_for,
            "created_at": moment(row.created_at),
            "started_at": moment(row.started_at),
            "ended_at": moment(row.ended_at),
        }
    )


def _adapter(row: AdapterRow) -> AdapterView:
    values = {name: value for name, value in vars(row).items() if name != "tenant"}
    return AdapterView.model_validate({**values, "created_at": moment(row.created_at)})

"""Webhook endpoints as their tenant sees them: how each fares, what was sent there, and switching one on again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from handlers.api.caller import Deps, Tenant
from handlers.api.views import ID_PATTERN, moment
from schemas.base import Frozen
from schemas.errors import NotFound, OutOfRange
from schemas.ids import is_id
from storage.ledger import deliveries
from storage.ledger.deliveries import DeliveryRecord, EndpointRecord

routes = APIRouter()


class EndpointView(Frozen):
    id: str
    url: str
    created_at: datetime
    #: Since when it has done nothing but fail.
    failing_since: datetime | None = None
    consecutive_failures: int
    disabled_at: datetime | None = None
    disabled_reason: Literal["gone", "failing"] | None = None


class EndpointsView(Frozen):
    endpoints: tuple[EndpointView, ...]


class DeliveryView(Frozen):
    #: The `webhook-id` of all its attempts.
    id: str
    endpoint: str
    type: str
    about: str
    state: Literal["pending", "delivered", "abandoned"]
    attempts: int
    next_attempt_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime
    ended_at: datetime | None = None


class DeliveriesView(Frozen):
    """One page, newest first."""

    deliveries: tuple[DeliveryView, ...]
    next: str | None = None


class EnabledView(Frozen):
    #: Deliveries that are due again.
    replayed: int


@routes.get("/v1/endpoints", response_model=EndpointsView)
def list_endpoints(tenant: Tenant, deps: Deps) -> EndpointsView:
    """Every address that this tenant has asked for webhooks at."""
    with deps.ledger.read() as conn:
        found = deliveries.endpoints(conn, tenant)
    return EndpointsView(endpoints=tuple(map(_endpoint, found)))


@routes.post("/v1/endpoints/{id}/enable", response_model=EnabledView)
def enable_endpoint(id: str, tenant: Tenant, deps: Deps, replay_since: datetime | None = None) -> EnabledView:
    """Send there again; with `replay_since`, what was given up of all created since then is sent anew."""
    if not is_id(id, "end"):
        raise NotFound("there is no such endpoint", field="endpoint")
    if replay_since is not None and replay_since.tzinfo is None:
        raise OutOfRange("the time needs a zone offset (RFC 3339)", field="replay_since")
    since = None if replay_since is None else replay_since.timestamp()
    with deps.ledger.begin() as conn:
        replayed = deliveries.reenable(
            conn, tenant=tenant, endpoint_id=id, now=deps.clock(), replay_since=since
        )
    return EnabledView(replayed=replayed)


@routes.get("/v1/deliveries", response_model=DeliveriesView)
def list_deliveries(
    tenant: Tenant,
    deps: Deps,
    about: Annotated[str | None, Query(pattern=ID_PATTERN, description="A job, batch or endpoint.")] = None,
    endpoint: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    before: Annotated[str | None, Query(pattern=ID_PATTERN, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> DeliveriesView:
    """The delivery log: what is owed, was delivered, or was given up."""
    with deps.ledger.read() as conn:
        found = deliveries.log(
            conn, tenant=tenant, about=about, endpoint_id=endpoint, before=before, limit=limit + 1
        )
    page = found[:limit]
    return DeliveriesView(
        deliveries=tuple(map(_delivery, page)), next=page[-1].id if len(found) > limit else None
    )


def _endpoint(record: EndpointRecord) -> EndpointView:
    times = {name: moment(getattr(record, name)) for name in ("created_at", "failing_since", "disabled_at")}
    values = {name: value for name, value in vars(record).items() if name != "tenant"}
    return EndpointView.model_validate({**values, **times})


def _delivery(record: DeliveryRecord) -> DeliveryView:
    times = {name: moment(getattr(record, name)) for name in ("created_at", "ended_at")}
    next_attempt_at = moment(record.next_attempt_at) if record.state == "pending" else None
    return DeliveryView.model_validate({**vars(record), **times, "next_attempt_at": next_attempt_at})

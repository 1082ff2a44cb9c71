"""Calling off what has not ended."""

from __future__ import annotations

from fastapi import APIRouter

from handlers.api.caller import Deps, Tenant
from handlers.api.looking import get_batch, get_job
from handlers.api.views import BatchView, JobView
from handlers.cancel import cancel_batch, cancel_job
from schemas.errors import NotFound
from schemas.ids import is_id

routes = APIRouter()


@routes.post("/v1/jobs/{id}/cancel", response_model=JobView)
def cancel_this_job(id: str, tenant: Tenant, deps: Deps) -> JobView:
    """Cancel what is left of a job; pictures that are being rendered may still end. Canceling twice is no error."""
    if not is_id(id, "job"):
        raise NotFound("there is no such job", field="id")
    with deps.ledger.begin() as conn:
        cancel_job(conn, tenant=tenant, id=id, now=deps.clock())
    return get_job(id, tenant, deps, after="", limit=100)


@routes.post("/v1/batches/{id}/cancel", response_model=BatchView)
def cancel_this_batch(id: str, tenant: Tenant, deps: Deps) -> BatchView:
    """Cancel what is left of a batch, rows that are not planned yet included."""
    if not is_id(id, "bat"):
        raise NotFound("there is no such batch", field="id")
    with deps.ledger.begin() as conn:
        cancel_batch(conn, tenant=tenant, id=id, now=deps.clock())
    return get_batch(id, tenant, deps, after="", limit=100)

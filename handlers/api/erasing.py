"""Erasing jobs and batches for good."""

from __future__ import annotations

import json

from fastapi import APIRouter

from handlers.api.caller import Deps, Tenant
from handlers.api.ports import ApiDeps
from handlers.api.views import ErasureView, moment
from handlers.erasure import note_refusal, request_erasure
from schemas.errors import LegalHold, NotFound
from schemas.ids import Kind, is_id
from storage.ledger import erasures
from storage.ledger.sql import AnyRow

routes = APIRouter()


@routes.delete("/v1/jobs/{id}", status_code=202, response_model=ErasureView)
def erase_job(id: str, tenant: Tenant, deps: Deps) -> ErasureView:
    """Erase a job: it is canceled, then its words, pictures, receipts, copies and webhook bodies are removed. Asking again is no error."""
    return _erase(deps, tenant, id, "job")


@routes.delete("/v1/batches/{id}", status_code=202, response_model=ErasureView)
def erase_batch(id: str, tenant: Tenant, deps: Deps) -> ErasureView:
    """Erase a batch with all its jobs and result files; the manifest itself is the sender's to delete."""
    return _erase(deps, tenant, id, "bat")


@routes.get("/v1/erasures/{id}", response_model=ErasureView)
def get_erasure(id: str, tenant: Tenant, deps: Deps) -> ErasureView:
    """How far an erasure is, and when it is done, the receipt of what was removed."""
    with deps.ledger.read() as conn:
        row = erasures.get(conn, tenant=tenant, id=id) if is_id(id, "era") else None
    if row is None:
        raise NotFound("there is no such erasure", field="id")
    return _view(row)


def _erase(deps: ApiDeps, tenant: str, id: str, kind: Kind) -> ErasureView:
    if not is_id(id, kind):
        raise NotFound("there is no such job or batch", field="id")
    now = deps.clock()
    try:
        with deps.ledger.begin() as conn:
            made = request_erasure(conn, tenant=tenant, subject=id, actor="tenant", now=now)
    except LegalHold:
        with deps.ledger.begin(wake=False) as conn:
            note_refusal(conn, tenant=tenant, subject=id, actor="tenant", now=now)
        raise
    with deps.ledger.read() as conn:
        row = erasures.get(conn, tenant=tenant, id=made)
    assert row is not None
    return _view(row)


def _view(row: AnyRow) -> ErasureView:
    return ErasureView(
        id=row.id,
        subject=row.subject,
        done=row.state == "done",
        removed=json.loads(row.removed),
        requested_at=moment(row.requested_at),
        done_at=moment(row.done_at),
    )

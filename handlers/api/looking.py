"""Ways to look: jobs, batches, images, and the objects behind signed links."""

from __future__ import annotations

import json
import re
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import Response

from handlers.api.caller import Deps, Tenant
from handlers.api.ports import MAX_LINK_SECONDS
from handlers.api.views import ID_PATTERN, BatchView, ImageView, JobView, moment
from handlers.notices import batch_summary, image_summary, job_summary
from schemas.errors import NotFound, ObjectMissing
from schemas.ids import is_id
from schemas.problem import Problem
from schemas.states import ImageState
from storage.ledger import batches, images, jobs
from storage.ledger import held as held_images
from storage.objects.store import ObjectStore

#: Media types that a browser may show in place; everything else is a download.
_SHOWN = frozenset({"image/png", "image/jpeg", "image/webp", "image/avif", "application/json", "text/plain"})
#: Rejected rows in the view of a batch; all of them are in its errors file.
_MAX_REJECTED = 100

Limit = Annotated[int, Query(ge=1, le=500, description="Images on one page.")]
After = Annotated[str, Query(pattern=ID_PATTERN, description="`next` of the page before.")]

routes = APIRouter()


@routes.get("/v1/jobs/{id}", response_model=JobView)
def get_job(id: str, tenant: Tenant, deps: Deps, after: After = "", limit: Limit = 100) -> JobView:
    """A job: its state is computed from its images."""
    with deps.ledger.read() as conn:
        row = jobs.get(conn, tenant=tenant, id=id) if is_id(id, "job") else None
        if row is None:
            raise NotFound("there is no such job", field="id")
        found = [one for one in images.of_job(conn, id) if one.id > after]
        held = 0 if row.ended_at is not None else held_images.of_job(conn, id)
    page = found[:limit]
    summary = job_summary(row, page, held=held)
    times = {"created_at": moment(row.created_at), "ended_at": moment(row.ended_at)}
    return JobView.model_validate(
        {**dict(summary), **times, "next": page[-1].id if len(found) > limit else None}
    )


@routes.get("/v1/batches/{id}", response_model=BatchView)
def get_batch(id: str, tenant: Tenant, deps: Deps, after: After = "", limit: Limit = 100) -> BatchView:
    """A batch: counts, one page of its images, and the first of its rejected rows."""
    with deps.ledger.read() as conn:
        row = batches.get(conn, tenant=tenant, id=id) if is_id(id, "bat") else None
        if row is None:
            raise NotFound("there is no such batch", field="id")
        page = images.of_batch(conn, id, after=after, count=limit + 1)
        rejected = batches.row_errors(conn, id, count=_MAX_REJECTED)
        held = 0 if row.phase == "ended" else held_images.of_batch(conn, id)
    return BatchView.model_validate(
        {
            **dict(batch_summary(row, held=held)),
            "phase": row.phase,
            "error": json.loads(row.error) if row.error else None,
            "images": tuple(image_summary(one) for one in page[:limit]),
            "next": page[limit - 1].id if len(page) > limit else None,
            "rejected": tuple(Problem.model_validate_json(one.problem) for one in rejected),
            "created_at": moment(row.created_at),
            "ended_at": moment(row.ended_at),
        }
    )


@routes.get("/v1/images/{id}", response_model=ImageView)
def get_image(id: str, tenant: Tenant, deps: Deps) -> ImageView:
    """An image, with links to the picture and its receipt that live 15 minutes."""
    with deps.ledger.read() as conn:
        row = images.get(conn, tenant=tenant, id=id) if is_id(id, "img") else None
    if row is None:
        raise NotFound("there is no such image", field="id")
    summary = image_summary(row)
    shown = summary.state is ImageState.RENDERED and summary.key is not None
    links = _links(deps.results(tenant), deps.clock(), summary.key, summary.receipt_key) if shown else {}
    return ImageView.model_validate({**dict(summary), "job": row.job, "batch": row.batch, **links})


def _links(store: ObjectStore, now: float, key: str | None, receipt_key: str | None) -> dict[str, object]:
    def link(place: str | None) -> str | None:
        return store.presign(place, expires_seconds=MAX_LINK_SECONDS) if place else None

    expires_at = moment(now + MAX_LINK_SECONDS)
    return {"url": link(key), "receipt_url": link(receipt_key), "url_expires_at": expires_at}


@routes.get("/v1/objects/{bucket}/{key:path}", response_class=Response)
def get_object(bucket: str, key: str, deps: Deps, expires: str = "", signature: str = "") -> Response:
    """The object behind a signed link. Needs no token: the link is the permission."""
    if deps.links is None:
        raise NotFound("links of this installation are served by its object store")
    deps.links.verify(bucket=bucket, key=key, expires=expires, signature=signature)
    store = deps.served_stores.get(bucket)
    info = store.head(key) if store is not None else None
    if store is None or info is None:
        raise ObjectMissing
    # The answer may be kept by the browser that has the link, and by nobody between.
    headers = {
        "cache-control": "private, max-age=300",
        "content-disposition": _disposition(key, info.media_type),
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "etag": f'"{info.etag}"' if '"' not in info.etag else info.etag,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Response(store.get(key), headers=headers, media_type=info.media_type)


def _disposition(key: str, media_type: str) -> str:
    kind = "inline" if media_type.split(";", maxsplit=1)[0] in _SHOWN else "attachment"
    name = key.rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"

"""Reviews for programs: the queue, one review, its picture, and what can be decided about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field, ValidationError
from sqlalchemy import Connection
from starlette.responses import Response

from handlers import reviewing
from handlers.api.caller import Deps
from handlers.api.ports import ApiDeps
from handlers.api.request_body import Body, require_media_type
from handlers.api.review_session import Caller
from handlers.api.submitting import body_of
from handlers.api.views import ID_PATTERN, moment
from handlers.reviewing import MAX_REASON, Reviewer
from schemas.base import Frozen
from schemas.errors import ObjectMissing, Unsupported
from schemas.outcome import QuarantineRef
from schemas.problem import from_validation
from schemas.verdict import CategoryScore, Verdict
from storage.ledger import reviews
from storage.ledger.sql import AnyRow
from storage.quarantine import PICTURE, PREVIEW

State = Literal["waiting", "open", "claimed", "released", "rejected", "expired", "withdrawn"]
Decide = Callable[[Connection, str, Reviewer, str, float], AnyRow]

_PICTURE_HEADERS = {
    # Nothing of a held picture stays anywhere but in the quarantine.
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

routes = APIRouter()


class ReviewDecision(Frozen):
    """Why it is released or rejected; kept in the audit log."""

    reason: str = Field(min_length=1, max_length=MAX_REASON)


class ReviewView(Frozen):
    """One review, with what the screens found; for reviewers, since scores teach evasion."""

    id: str
    state: Literal["open", "claimed", "released", "rejected", "expired", "withdrawn"]
    image: str
    job: str
    tenant: str
    digest: str
    #: Two people must release it, and nobody is shown its picture.
    hard_floor: bool
    policy: str
    categories: dict[str, CategoryScore]
    reasons: tuple[str, ...]
    #: A required check gave no answer, and the policy has a person look instead.
    degraded: bool
    reviewer: str | None = None
    claimed_until: datetime | None = None
    first_release_by: str | None = None
    reason: str | None = None
    preview_url: str | None = None
    created_at: datetime
    #: From then on nobody's decision counts as a no.
    expires_at: datetime
    decided_at: datetime | None = None
    #: When its image ended; a released picture is published within seconds.
    settled_at: datetime | None = None


class ReviewsView(Frozen):
    """One page, oldest first."""

    reviews: tuple[ReviewView, ...]
    next: str | None = None


@routes.get("/v1/reviews", response_model=ReviewsView)
def list_reviews(
    reviewer: Caller,
    deps: Deps,
    state: State = "waiting",
    after: Annotated[str, Query(pattern=ID_PATTERN, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ReviewsView:
    """Held pictures, oldest first; `waiting` are those that nobody has decided."""
    rows = visible(deps, reviewer, state, after, limit + 1)
    page = rows[:limit]
    return ReviewsView(
        reviews=tuple(view(row) for row in page), next=page[-1].id if len(rows) > limit else None
    )


@routes.get("/v1/reviews/{id}", response_model=ReviewView)
def get_review(id: str, reviewer: Caller, deps: Deps) -> ReviewView:
    with deps.ledger.read() as conn:
        return view(reviewing.found(conn, id, reviewer))


@routes.get("/v1/reviews/{id}/preview", response_class=Response)
def get_preview(id: str, reviewer: Caller, deps: Deps) -> Response:
    """The blurred preview (PNG, 256 pixels); none is kept on the hard floor."""
    return preview(deps, id, reviewer)


@routes.get("/v1/reviews/{id}/picture", response_class=Response)
def get_picture(id: str, reviewer: Caller, deps: Deps) -> Response:
    """The picture itself (PNG), for whoever has claimed it; that it was looked at goes into the audit log."""
    return picture(deps, id, reviewer)


@routes.post("/v1/reviews/{id}/claim", response_model=ReviewView)
def claim_review(id: str, request: Request, reviewer: Caller, deps: Deps) -> ReviewView:
    """Take it into your hands for 15 minutes; claiming again extends that."""
    require_media_type(request, "application/json")
    with deps.ledger.begin(wake=False) as conn:
        return view(reviewing.claim(conn, id, reviewer, deps.clock()))


@routes.post("/v1/reviews/{id}/return", response_model=ReviewView)
def return_review(id: str, request: Request, reviewer: Caller, deps: Deps) -> ReviewView:
    """Give it back undecided."""
    require_media_type(request, "application/json")
    with deps.ledger.begin(wake=False) as conn:
        return view(reviewing.unclaim(conn, id, reviewer, deps.clock()))


_DECISION = body_of("ReviewDecision", "application/json")


@routes.post("/v1/reviews/{id}/release", response_model=ReviewView, openapi_extra=_DECISION)
def release_review(id: str, request: Request, body: Body, reviewer: Caller, deps: Deps) -> ReviewView:
    """Let it be published. On the hard floor, a second reviewer has to do the same."""
    return _decide(deps, id, request, body, reviewer, reviewing.release)


@routes.post("/v1/reviews/{id}/reject", response_model=ReviewView, openapi_extra=_DECISION)
def reject_review(id: str, request: Request, body: Body, reviewer: Caller, deps: Deps) -> ReviewView:
    """Block it."""
    return _decide(deps, id, request, body, reviewer, reviewing.reject)


def visible(deps: ApiDeps, reviewer: Reviewer, state: str | None, after: str, count: int) -> list[AnyRow]:
    """A page of the reviews that a reviewer may see."""
    with deps.ledger.read() as conn:
        return list(
            reviews.page(
                conn,
                state=state,
                tenant=reviewer.tenant,
                floor=reviewer.tenant is None,
                after=after,
                count=count,
            )
        )


def preview(deps: ApiDeps, id: str, reviewer: Reviewer) -> Response:
    with deps.ledger.read() as conn:
        row = reviewing.found(conn, id, reviewer)
    if QuarantineRef.model_validate_json(row.quarantined).preview_key is None:
        raise ObjectMissing("no preview is kept of this one", field="id")
    return _part(deps, row, PREVIEW)


def picture(deps: ApiDeps, id: str, reviewer: Reviewer) -> Response:
    # The note that it was looked at is durable before anybody sees it.
    with deps.ledger.begin(wake=False) as conn:
        row = reviewing.look(conn, id, reviewer, deps.clock())
    return _part(deps, row, PICTURE)


def view(row: AnyRow) -> ReviewView:
    verdict = Verdict.model_validate_json(row.verdict)
    shown = QuarantineRef.model_validate_json(row.quarantined).preview_key and row.discarded_at is None
    return ReviewView(
        id=row.id,
        state=row.state,
        image=row.image,
        job=row.job,
        tenant=row.tenant,
        digest=row.digest,
        hard_floor=row.hard_floor,
        policy=verdict.policy,
        categories=verdict.categories,
        reasons=verdict.reasons,
        degraded=verdict.degraded,
        reviewer=row.reviewer,
        claimed_until=moment(row.lease_until),
        first_release_by=row.first_release_by,
        reason=row.reason,
        preview_url=f"/v1/reviews/{row.id}/preview" if shown else None,
        created_at=_moment(row.created_at),
        expires_at=_moment(row.expires_at),
        decided_at=moment(row.decided_at),
        settled_at=moment(row.settled_at),
    )


def _decide(
    deps: ApiDeps, id: str, request: Request, body: bytes, reviewer: Reviewer, decide: Decide
) -> ReviewView:
    require_media_type(request, "application/json")
    try:
        reason = ReviewDecision.model_validate_json(body).reason
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    with deps.ledger.begin() as conn:
        return view(decide(conn, id, reviewer, reason, deps.clock()))


def _part(deps: ApiDeps, row: AnyRow, part: str) -> Response:
    if deps.vault is None:
        raise Unsupported("nothing is held in this installation")
    key = QuarantineRef.model_validate_json(row.quarantined).key
    return Response(deps.vault.open(row.tenant, key, part), headers=_PICTURE_HEADERS, media_type="image/png")


def _moment(seconds: float) -> datetime:
    found = moment(seconds)
    assert found is not None
    return found

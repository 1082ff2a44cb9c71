"""Reviews for people: pages that need no script, behind a cookie or, where nobody has tokens, behind this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, RedirectResponse, Response

from handlers import reviewing
from handlers.api import review_html as html
from handlers.api.caller import Deps
from handlers.api.ports import ApiDeps
from handlers.api.request_body import Body, require_media_type
from handlers.api.review_session import (
    COOKIE,
    SESSION_SECONDS,
    Browser,
    form_token,
    new_session,
    require_form_token,
    reviewer_of_browser,
)
from handlers.api.reviewing import picture, preview, visible
from handlers.api.views import ID_PATTERN
from handlers.reviewing import MAX_REASON, Reviewer
from schemas.errors import AquatintError, OutOfRange, Unauthorised
from storage.ledger.sql import AnyRow

PAGE = 50
Change = Callable[[Connection, str, Reviewer, float], AnyRow]

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

routes = APIRouter(include_in_schema=False)


@routes.get("/review")
def queue(request: Request, deps: Deps, after: Annotated[str, Query(pattern=ID_PATTERN)] = "") -> Response:
    def show(reviewer: Reviewer) -> Response:
        rows = visible(deps, reviewer, "waiting", after, PAGE + 1)
        form = form_token(deps, reviewer)
        return _html(html.queue_page(rows[:PAGE], reviewer, form, deps.clock(), len(rows) > PAGE))

    return _for_reviewer(request, deps, show)


@routes.get("/review/sign-in")
def ask_token() -> Response:
    return _html(html.sign_in_page())


@routes.post("/review/sign-in")
def sign_in(request: Request, body: Body, deps: Deps) -> Response:
    token = _fields(request, body).get("token", "").strip()
    try:
        session = new_session(deps, token)
    except AquatintError as error:
        return _html(html.sign_in_page("this is not the token of a reviewer"), error.status)
    answer = RedirectResponse("/review", 303, _HEADERS)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=SESSION_SECONDS,
        path="/review",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@routes.post("/review/sign-out")
def sign_out(request: Request, body: Body, reviewer: Browser, deps: Deps) -> Response:
    require_form_token(deps, reviewer, _fields(request, body).get("form", ""))
    answer = RedirectResponse("/review/sign-in", 303, _HEADERS)
    answer.delete_cookie(COOKIE, path="/review")
    return answer


@routes.get("/review/{id}")
def one(id: str, request: Request, deps: Deps) -> Response:
    return _for_reviewer(request, deps, lambda reviewer: _shown(deps, id, reviewer))


@routes.get("/review/{id}/preview")
def blurred(id: str, reviewer: Browser, deps: Deps) -> Response:
    return preview(deps, id, reviewer)


@routes.get("/review/{id}/picture")
def itself(id: str, reviewer: Browser, deps: Deps) -> Response:
    try:
        return picture(deps, id, reviewer)
    except AquatintError as error:
        return _html(html.problem_page("The picture is not shown", error.detail), error.status)


@routes.post("/review/{id}/claim")
def claim(id: str, request: Request, body: Body, reviewer: Browser, deps: Deps) -> Response:
    return _changed(deps, id, reviewer, _fields(request, body), reviewing.claim)


@routes.post("/review/{id}/return")
def give_back(id: str, request: Request, body: Body, reviewer: Browser, deps: Deps) -> Response:
    return _changed(deps, id, reviewer, _fields(request, body), reviewing.unclaim)


@routes.post("/review/{id}/decide")
def decide(id: str, request: Request, body: Body, reviewer: Browser, deps: Deps) -> Response:
    fields = _fields(request, body)

    def change(conn: Connection, id: str, reviewer: Reviewer, now: float) -> AnyRow:
        reason = fields.get("reason", "").strip()
        if not 1 <= len(reason) <= MAX_REASON:
            raise OutOfRange("give a reason", field="reason", limit=MAX_REASON)
        choices = {"release": reviewing.release, "reject": reviewing.reject}
        chosen = choices.get(fields.get("decision", ""))
        if chosen is None:
            raise OutOfRange("release it or reject it", field="decision", limit=list(choices))
        return chosen(conn, id, reviewer, reason, now)

    return _changed(deps, id, reviewer, fields, change)


def _for_reviewer(request: Request, deps: ApiDeps, show: Callable[[Reviewer], Response]) -> Response:
    """A page for whoever is signed in; everybody else is led to where one signs in."""
    try:
        reviewer = reviewer_of_browser(request, deps)
    except Unauthorised:
        return RedirectResponse("/review/sign-in", 303)
    except AquatintError as error:
        return _html(html.problem_page("You cannot review here", error.detail), error.status)
    return show(reviewer)


def _changed(deps: ApiDeps, id: str, reviewer: Reviewer, fields: dict[str, str], change: Change) -> Response:
    """Make a change and show what came of it; a refusal is shown on the page it was asked from."""
    require_form_token(deps, reviewer, fields.get("form", ""))
    try:
        with deps.ledger.begin() as conn:
            change(conn, id, reviewer, deps.clock())
    except AquatintError as error:
        return _shown(deps, id, reviewer, alert=str(error.detail), status=error.status)
    return RedirectResponse(f"/review/{id}", 303, _HEADERS)


def _shown(deps: ApiDeps, id: str, reviewer: Reviewer, alert: str = "", status: int = 200) -> Response:
    try:
        with deps.ledger.read() as conn:
            row = reviewing.found(conn, id, reviewer)
    except AquatintError as error:
        return _html(html.problem_page("There is no such review", error.detail), error.status)
    form = form_token(deps, reviewer)
    return _html(html.review_page(row, reviewer, form, deps.clock(), alert), status)


def _fields(request: Request, body: bytes) -> dict[str, str]:
    require_media_type(request, "application/x-www-form-urlencoded")
    return {
        name: values[0] for name, values in parse_qs(body.decode(errors="replace"), max_num_fields=8).items()
    }


def _html(page: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(page, status, _HEADERS)

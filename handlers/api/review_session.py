"""Who reviews: the person behind a bearer token, or behind the cookie that the same token was exchanged for."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Annotated

from fastapi import Depends, Request

from handlers.api.caller import Deps, bearer_token
from handlers.api.ports import ApiDeps
from handlers.reviewing import Reviewer, reviewer_of
from schemas.errors import Forbidden, SignatureRefused, Unauthorised

COOKIE = "aquatint_reviewer"
SESSION_SECONDS = 8 * 3600
#: Who reviews where only this machine can call, and nobody has a token.
LOCAL = Reviewer(name="local")


def reviewer_with_token(deps: ApiDeps, token: str) -> Reviewer:
    """Takes the same time whichever token matches; Forbidden for a tenant's token, Unauthorised for an unknown one."""
    matches = [identity for known, identity in deps.reviewers.items() if _equal(known, token)]
    if matches:
        return reviewer_of(matches[0])
    if any(_equal(known, token) for known in deps.tokens):
        raise Forbidden("this is no reviewer's token", field="authorization")
    raise Unauthorised(field="authorization")


def reviewer_of_request(request: Request, deps: Deps) -> Reviewer:
    """The caller of the API."""
    return _without_tokens(deps) or reviewer_with_token(deps, bearer_token(request))


def reviewer_of_browser(request: Request, deps: Deps) -> Reviewer:
    """Whoever looks at a page; Unauthorised without a valid cookie."""
    return _without_tokens(deps) or _session(deps, request.cookies.get(COOKIE, ""))


Caller = Annotated[Reviewer, Depends(reviewer_of_request)]
Browser = Annotated[Reviewer, Depends(reviewer_of_browser)]


def new_session(deps: ApiDeps, token: str) -> str:
    """The cookie's value for a token; it names the reviewer and its end, and is worthless once the token is withdrawn."""
    reviewer_with_token(deps, token)
    expires = int(deps.clock()) + SESSION_SECONDS
    fact = f"{hashlib.sha256(token.encode()).hexdigest()}.{expires}"
    return f"{fact}.{_sign(deps, 'session', fact)}"


def form_token(deps: ApiDeps, reviewer: Reviewer) -> str:
    """What a form of ours carries and a page of somebody else cannot know."""
    return _sign(deps, "form", f"{reviewer.name}@{reviewer.tenant or ''}")


def require_form_token(deps: ApiDeps, reviewer: Reviewer, given: str) -> None:
    if not _equal(form_token(deps, reviewer), given):
        raise SignatureRefused("this form was not made for you: load the page again", field="form")


def _without_tokens(deps: ApiDeps) -> Reviewer | None:
    if deps.reviewers:
        return None
    if deps.tokens:
        raise Forbidden(
            "this installation has no reviewers (AQUATINT_REVIEWER_TOKENS)", field="authorization"
        )
    return LOCAL


def _session(deps: ApiDeps, cookie: str) -> Reviewer:
    fact, _, signature = cookie.rpartition(".")
    digest, _, expires = fact.partition(".")
    good = _equal(_sign(deps, "session", fact), signature) and expires.isdecimal()
    if good and int(expires) > deps.clock():
        for known, identity in deps.reviewers.items():
            if _equal(hashlib.sha256(known.encode()).hexdigest(), digest):
                return reviewer_of(identity)
    raise Unauthorised("sign in first", field="cookie")


def _sign(deps: ApiDeps, purpose: str, fact: str) -> str:
    made = hmac.new(deps.session_key, f"{purpose}\x1f{fact}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _equal(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode(errors="surrogateescape"))

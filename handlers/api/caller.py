"""Who calls: the tenant behind a bearer token."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request

from handlers.api.ports import ApiDeps
from schemas.errors import Unauthorised

#: The one tenant of an installation without tokens.
DEFAULT_TENANT = "default"


def deps_of(request: Request) -> ApiDeps:
    deps = request.app.state.deps
    assert isinstance(deps, ApiDeps)
    return deps


Deps = Annotated[ApiDeps, Depends(deps_of)]


def bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorised("send a bearer token", field="authorization")
    return token.strip()


def tenant_of(request: Request, deps: Deps) -> str:
    """Unauthorised for an unknown token. Takes the same time whichever token matches."""
    if not deps.tokens:
        return DEFAULT_TENANT
    token = bearer_token(request)
    matches = [tenant for known, tenant in deps.tokens.items() if _equal(known, token)]
    if not matches:
        raise Unauthorised(field="authorization")
    return matches[0]


Tenant = Annotated[str, Depends(tenant_of)]


def require_notification_token(deps: ApiDeps, token: str) -> None:
    if not deps.notification_token or not _equal(deps.notification_token, token):
        raise Unauthorised("this is not the notification token", field="authorization")


def _equal(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode(errors="surrogateescape"))

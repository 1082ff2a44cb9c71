"""For whoever runs the installation: health, readiness, metrics, and the reports of workers elsewhere."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from handlers.api.caller import Deps
from handlers.api.ports import ReadinessCheck
from handlers.api.request_body import Body
from handlers.api.views import NotReady, ReadinessView
from schemas.errors import AquatintError, SignatureRefused
from schemas.outcome import Report
from schemas.problem import from_validation
from storage.report_signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify

_REPORT: TypeAdapter[Report] = TypeAdapter(Report)

routes = APIRouter()


@routes.get("/healthz", response_class=Response)
def health() -> Response:
    """200 while this process answers at all."""
    return Response('{"status":"ok"}', media_type="application/json")


@routes.get("/readyz", response_model=ReadinessView, responses={503: {"model": ReadinessView}})
def readiness(deps: Deps, response: Response) -> ReadinessView:
    """200 when everything that an event needs is there; 503 and what is missing otherwise."""
    missing = tuple(found for found in map(_missing, deps.readiness) if found is not None)
    response.status_code = 503 if missing else 200
    return ReadinessView(ready=not missing, not_ready=missing)


def _missing(part: ReadinessCheck) -> NotReady | None:
    try:
        part.check()
    except AquatintError as error:
        return NotReady(name=part.name, code=error.code, detail=error.detail)
    except Exception as error:
        return NotReady(name=part.name, code=AquatintError.code, detail=type(error).__name__)
    return None


@routes.get("/metrics", response_class=Response)
def metrics(deps: Deps) -> Response:
    """Prometheus metrics of this process."""
    return Response(generate_latest(deps.metrics), headers={"content-type": CONTENT_TYPE_LATEST})


@routes.post("/v1/outcomes", status_code=204, response_class=Response, include_in_schema=False)
def report_outcome(request: Request, body: Body, deps: Deps) -> Response:
    """Take in one signed report of a worker that cannot reach the broker."""
    timestamp, signature = (request.headers.get(name, "") for name in (TIMESTAMP_HEADER, SIGNATURE_HEADER))
    good = len(timestamp) <= 15 and verify(deps.outcomes_secret, timestamp, body, signature, now=deps.clock())
    if not good or deps.publish_report is None:
        raise SignatureRefused(field=SIGNATURE_HEADER)
    try:
        _REPORT.validate_json(body)
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    deps.publish_report(body)
    # 204 lets the worker forget its work: the broker has confirmed the report when `publish_report` returns.
    return Response(status_code=204)

"""The HTTP API, put together."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from handlers.api import (
    canceling,
    erasing,
    finetuning,
    looking,
    notifying,
    operating,
    review_page,
    reviewing,
    sending_inputs,
    submitting,
)
from handlers.api.metrics import FinetunesByState, Observed, OutboxAge
from handlers.api.oversight_metrics import OversightGauges
from handlers.api.ports import ApiDeps
from handlers.api.problems import MEDIA_TYPE, answer_with_problems
from schemas.cloudevent import CloudEvent
from schemas.finetune import FinetuneRequest
from schemas.problem import Problem
from schemas.request import GenerationRequest
from schemas.webhook import BatchCompleted, EndpointEvent, FinetuneCompleted, ImageEnded, JobCompleted

VERSION = "1"

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What is wrong, where, and against which limit.", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}},
    "5XX": {"description": "Not the caller's fault.", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}},
}  # fmt: skip


def make_api(deps: ApiDeps) -> FastAPI:
    """The application over its ports; starts nothing of its own."""
    app = describe_api()
    app.state.deps = deps
    app.add_middleware(Observed, registry=deps.metrics)
    deps.metrics.register(OutboxAge(deps.ledger, deps.clock))
    deps.metrics.register(FinetunesByState(deps.ledger))
    deps.metrics.register(OversightGauges(deps.ledger, deps.clock))
    return app


def describe_api() -> FastAPI:
    """The routes without anything behind them: enough for the OpenAPI document."""
    app = FastAPI(
        title="Aquatint",
        version=VERSION,
        summary="Events in, checked and signed images out.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=_PROBLEMS,
    )
    answer_with_problems(app)
    for module in (submitting, sending_inputs, looking, canceling, erasing, finetuning, notifying, operating, reviewing, review_page):
        app.include_router(module.routes)
    _describe_webhooks(app)
    _describe_bodies(app)
    return app


def _describe_webhooks(app: FastAPI) -> None:
    """What we send to customers, signed as Standard Webhooks 1.0 says."""

    def job_completed(body: JobCompleted) -> None:
        """`job.completed` and `job.progress`."""

    def batch_completed(body: BatchCompleted) -> None:
        """`batch.completed` and `batch.progress`."""

    def image_ended(body: ImageEnded) -> None:
        """`image.rendered`, `image.blocked`, `image.failed` and `image.held`."""

    def finetune_completed(body: FinetuneCompleted) -> None:
        """`finetune.completed`: it has ended, well or not, as `data.state` says."""

    def endpoint_disabled(body: EndpointEvent) -> None:
        """`endpoint.disabled`: nothing more is sent to another endpoint of yours."""

    gone: dict[int | str, dict[str, Any]] = {410: {"description": "Disables the endpoint."}}
    app.webhooks.post("job", status_code=204, responses=gone)(job_completed)
    app.webhooks.post("batch", status_code=204, responses=gone)(batch_completed)
    app.webhooks.post("image", status_code=204, responses=gone)(image_ended)
    app.webhooks.post("finetune", status_code=204, responses=gone)(finetune_completed)
    app.webhooks.post("endpoint", status_code=204, responses=gone)(endpoint_disabled)


def _describe_bodies(app: FastAPI) -> None:
    """Bodies are read by ourselves, for the sake of limits and typed errors, so their schemas are added here."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        bodies = [(one, "validation") for one in (GenerationRequest, FinetuneRequest, CloudEvent, reviewing.ReviewDecision)]
        models = [*bodies, (Problem, "serialization")]
        _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        components = document.setdefault("components", {})
        components["schemas"] = dict(sorted({**components.get("schemas", {}), **schemas["$defs"]}.items()))
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]

"""Counting and guarding every request: durations by route, and an answer even when a route breaks; the outbox's age."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator

import sentry_sdk
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handlers.api.ports import Transactions
from handlers.api.problems import problem_response
from schemas.errors import AquatintError
from storage.ledger import deliveries, finetunes

_log = structlog.get_logger(__name__)


class Observed:
    """ASGI middleware around the whole application. Labels are the route's template, never an id."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        labels = ["method", "route", "status"]
        self._requests = Counter("http_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "http_request_duration_seconds", "Time to the end of the answer.", ["route"], registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            _report(error)
            if not status:
                await problem_response(AquatintError("this request met a fault of ours"))(
                    scope, receive, watch
                )
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(time.monotonic() - began)


class OutboxAge(Collector):
    """How long the longest due webhook has been due, read from the ledger when metrics are asked for."""

    def __init__(self, ledger: Transactions, clock: Callable[[], float]) -> None:
        self._ledger, self._clock = ledger, clock

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        try:
            with self._ledger.read() as conn:
                due = deliveries.oldest_due(conn)
        except AquatintError:
            return  # a gap in the graph, and not a wrong value, while the ledger is away
        family.add_metric([], 0.0 if due is None else max(0.0, self._clock() - due))
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "outbox_oldest_pending_seconds", "How long the longest due webhook has been due."
        )


class FinetunesByState(Collector):
    """How many fine-tunes stand in each state, read from the ledger when metrics are asked for."""

    def __init__(self, ledger: Transactions) -> None:
        self._ledger = ledger

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        try:
            with self._ledger.read() as conn:
                counts = finetunes.by_state(conn)
        except AquatintError:
            return  # as above
        for state in ("queued", "released", "running", "completed", "failed", "canceled"):
            family.add_metric([state], counts.get(state, 0))
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily("finetunes", "Fine-tunes by state.", labels=["state"])


def _report(error: Exception) -> None:
    """The place and type of the fault; its text may hold a part of a request."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("api.broken", error=type(error).__name__, at=f"{frame.filename}:{frame.lineno}")
    sentry_sdk.capture_exception(error)

"""What the dispatcher counts; no tenant, address or job is ever a label."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram


class Observer(Protocol):
    """Told of every attempt; `outcome` is the name of its result type in lower case."""

    def attempted(self, outcome: str, seconds: float) -> None: ...


class Unobserved:
    """Counts nothing."""

    def attempted(self, outcome: str, seconds: float) -> None:
        pass


class DeliveryMetrics:
    """Prometheus counters in a registry of the caller's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "webhook_delivery_attempts", "Attempts by outcome.", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "webhook_delivery_duration_seconds", "Duration of one attempt.", registry=registry
        )

    def attempted(self, outcome: str, seconds: float) -> None:
        self._attempts.labels(outcome).inc()
        self._seconds.observe(seconds)

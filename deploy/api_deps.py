"""The ports of the HTTP API, from the parts of this installation."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from deploy.base_parts import RESULTS, UPLOADS
from deploy.compose import Parts
from deploy.crew import Crew
from handlers.api.ports import ApiDeps, ReadinessCheck
from schemas.errors import QueueUnavailable
from schemas.input_image import InputImage
from storage.broker.publisher import Outgoing, Publisher
from storage.broker.topology import outcomes
from storage.ledger import workers
from storage.objects.location import is_s3
from storage.objects.store import ObjectStore
from storage.sealing import derive_key


def api_deps(parts: Parts, crew: Crew) -> ApiDeps:
    settings = parts.settings
    secret = settings.outcomes_secret.get_secret_value().encode()
    publisher = Publisher(parts.broker, outcomes(parts.broker))
    queue = outcomes(parts.broker).name

    def publish_report(body: bytes) -> None:
        publisher.publish(Outgoing(queue=queue, body=body.decode()))

    def take_input(tenant: str, data: bytes) -> InputImage:
        parts.gate.turn_away(tenant)
        return parts.inputs.accept(tenant, data)

    return ApiDeps(
        ledger=parts.ledger,
        intake=parts.intake,
        take_input=take_input,
        results=parts.results_of,
        metrics=CollectorRegistry(),
        tokens=settings.api_tokens,
        readiness=readiness(parts, crew),
        served_stores=_served(parts),
        links=parts.links,
        publish_report=publish_report if secret else None,
        outcomes_secret=secret,
        reviewers=settings.reviewer_tokens,
        vault=parts.vault,
        session_key=derive_key(parts.secret, "review-session"),
        notification_token=settings.notification_token.get_secret_value(),
    )


def _served(parts: Parts) -> Mapping[str, ObjectStore]:
    """Folders have no server of their own; S3 signs links to itself."""
    settings = parts.settings
    places = ((RESULTS, settings.resolved_results_store, parts.results), (UPLOADS, settings.resolved_uploads_store, parts.uploads))
    return {bucket: store for bucket, location, store in places if not is_s3(location)}


def readiness(parts: Parts, crew: Crew) -> tuple[ReadinessCheck, ...]:
    """Each raises an AquatintError that says what is missing."""

    def ledger() -> None:
        with parts.ledger.read():
            pass

    def loops() -> None:
        if crew.failed:
            raise QueueUnavailable(f"loops have ended: {', '.join(crew.failed)}")

    def worker() -> None:
        lease = 3 * parts.settings.heartbeat_seconds
        with parts.ledger.read() as conn:
            seen = [one.seen_at for one in workers.everyone(conn) if one.accepting]
        if not seen or time.time() - max(seen) > lease:
            raise QueueUnavailable("no worker has been heard of yet")

    return (
        ReadinessCheck(name="ledger", check=ledger),
        ReadinessCheck(name="loops", check=loops),
        ReadinessCheck(name="worker", check=worker),
    )

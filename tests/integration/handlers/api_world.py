"""The API over a real ledger, a real intake and a store in memory, and what its tests ask of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from handlers.api.app import make_api
from handlers.api.ports import Accepted, ApiDeps
from handlers.intake import Intake
from handlers.recorder import account
from schemas.cloudevent import CloudEvent
from schemas.errors import NotFound
from schemas.object_event import ObjectCreated
from schemas.object_keys import image_key, receipt_key
from schemas.outcome import ImageRendered, Stored
from schemas.recipe import Recipe
from schemas.states import ImageState
from schemas.verdict import Decision, Verdict
from storage.ledger import images
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore

TOKENS = {"token-a": "acme", "token-b": "bolt"}


ACME, BOLT = {"authorization": "Bearer token-a"}, {"authorization": "Bearer token-b"}


TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


OUTCOMES_SECRET = b"o" * 32


class AllowAll:
    def check(self, prompt: str, negative_prompt: str = "") -> Verdict:
        return Verdict(stage="prompt", decision=Decision.ALLOW, policy="strict", policy_digest="b" * 64)


class NoRecipes:
    def get(self, name: str) -> Recipe:
        raise NotFound(field="recipe")


class Watched:
    """The real intake, which remembers what it was given, and breaks when a test says so."""

    def __init__(self, intake: Intake) -> None:
        self.intake, self.events, self.fault = intake, list[CloudEvent](), None
        self.fault: Exception | None
        self.gate: threading.Event | None = None

    def accept(self, event: CloudEvent, tenant: str) -> Accepted:
        self.events.append(event)
        if self.gate is not None:
            self.gate.wait(60)
        if self.fault is not None:
            raise self.fault
        return self.intake.accept(event, tenant)

    def object_created(
        self, created: ObjectCreated, tenant: str, *, traceparent: str | None = None
    ) -> Accepted:
        return self.intake.object_created(created, tenant, traceparent=traceparent)


@dataclass
class Api:
    client: TestClient
    deps: ApiDeps
    ledger: Ledger
    intake: Watched
    store: MemoryStore
    reports: list[bytes]

    def call(self, method: str, path: str, headers: Mapping[str, str] = ACME, **arguments: Any) -> Any:
        return self.client.request(method, path, headers=dict(headers), **arguments)

    def submit(self, prompt: str = "a red mug", headers: Mapping[str, str] = ACME, **more: Any) -> Any:
        return self.call("POST", "/v1/jobs", headers, json={"prompt": prompt, **more})

    def with_deps(self, **changes: Any) -> TestClient:
        app = make_api(replace(self.deps, metrics=CollectorRegistry(), **changes))
        return TestClient(app, raise_server_exceptions=False)

    def render(self, tenant: str, job: str, prefix: str = "") -> None:
        """Let every image of a job end as rendered, with its objects in place."""
        verdict = AllowAll().check("").model_copy(update={"stage": "output"})
        with self.ledger.begin() as conn:
            endings = []
            for row in images.of_job(conn, job):
                key, receipt = image_key(row.digest, "png"), receipt_key(row.digest)
                self.store.put(prefix + key, PNG, media_type="image/png")
                self.store.put(prefix + receipt, b"{}", media_type="application/json")
                stored = Stored(
                    key=key,
                    receipt_key=receipt,
                    sha256="c" * 64,
                    bytes=len(PNG),
                    width=128,
                    height=128,
                    media_type="image/png",
                )
                result = ImageRendered(
                    image=row.id, digest=row.digest, stored=stored, verdict=verdict
                ).model_dump_json()
                endings.append(images.Ending(row.id, row.digest, ImageState.RENDERED, result))
            account(conn, images.settle(conn, endings, 5.0), 5.0)


def problem(answer: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Asserts a problem and returns it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.text
    )
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"], body.get("field")) == (status, code, field), body
    assert body["type"] == f"urn:aquatint:error:{code}" and body["title"] and body["detail"]
    return body


def count(api: Api, table: Any) -> int:
    with api.ledger.read() as conn:
        return len(conn.execute(select(table)).all())

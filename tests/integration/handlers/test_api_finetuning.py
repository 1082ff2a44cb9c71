"""Fine-tunes and adapters over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_world import ACME, BOLT, AllowAll, Api, NoRecipes, problem
from fastapi.testclient import TestClient
from finetune_lane import TUNABLE, trained, with_pictures
from sqlalchemy import text

from handlers.finetune_ends import complete
from handlers.finetunes import FinetunePlanner
from handlers.intake import Intake
from handlers.planner import Planner
from storage.ledger import finetunes, trainers
from storage.ledger.trainers import TrainerRecord
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore

ASKED = {"name": "acme", "images": "uploads/brand/", "webhook": {"url": "https://example.org/hook"}}


class Door:
    """The API with an intake that takes fine-tunes."""

    def __init__(self, api: Api) -> None:
        self.api, self.uploads = api, MemoryStore(bucket="uploads")
        for tenant in ("acme", "bolt"):
            with_pictures(PrefixedStore(self.uploads, tenant))
        offers = {"starter": TUNABLE}
        finetuning = FinetunePlanner(
            offers=offers,
            default_model="starter",
            uploads=lambda tenant: PrefixedStore(self.uploads, tenant),
        )
        planner = Planner(
            offers=offers, default_model="starter", screen=AllowAll(), policy="strict", policy_digest="b" * 64
        )
        intake = Intake(ledger=api.ledger, planner=planner, recipes=NoRecipes(), finetunes=finetuning)
        self.client: TestClient = api.with_deps(intake=intake)

    def call(self, method: str, path: str, headers: dict[str, str] = ACME, **arguments: Any) -> Any:
        return self.client.request(method, path, headers=headers, **arguments)

    def ask(self, headers: dict[str, str] = ACME, **fields: Any) -> Any:
        return self.call("POST", "/v1/finetunes", headers, json={**ASKED, **fields})


@pytest.fixture
def door(api: Api) -> Iterator[Door]:
    made = Door(api)
    with made.client:
        yield made


def test_a_finetune_over_http(door: Door) -> None:
    """Kept with 202 and a place to look; a stranger sees nothing there; it waits for a trainer, and says so."""
    answer = door.ask(metadata={"order": "7"})
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert (body["kind"], body["duplicate"], answer.headers["location"]) == ("finetune", False, body["url"])
    found = door.call("GET", body["url"]).json()
    assert (found["state"], found["waiting_for"], found["trigger"], found["metadata"]) == (
        "queued",
        "trainer",
        "acme style",
        {"order": "7"},
    )
    problem(door.call("GET", body["url"], BOLT), 404, "not_found", "id")
    problem(door.call("DELETE", body["url"], BOLT), 404, "not_found", "finetune")
    problem(door.call("GET", "/v1/finetunes/job_1"), 404, "not_found", "id")
    problem(door.call("DELETE", "/v1/finetunes/x%00y"), 404, "not_found", "id")
    with door.api.ledger.begin() as conn:
        record = TrainerRecord(
            id="trn_1", queue="q", models={}, accepting=True, run=None, seen_at=door.api.deps.clock()
        )
        trainers.beat(conn, record)
    assert door.call("GET", body["url"]).json()["waiting_for"] == "turn"


def test_the_same_key_gives_the_same_answer(door: Door) -> None:
    """An Idempotency-Key keeps a repeat from becoming a second fine-tune; another body under it is refused."""
    headers = {**ACME, "idempotency-key": "k1"}
    first, again = door.ask(headers), door.ask(headers)
    assert (first.json(), again.headers["idempotency-replayed"]) == (again.json(), "true")
    problem(door.ask(headers, rank=4), 422, "idempotency_conflict", "Idempotency-Key")
    with door.api.ledger.read() as conn:
        assert len(finetunes.of_tenant(conn, "acme")) == 1


def test_an_event_is_another_way_in(door: Door) -> None:
    """The CloudEvent becomes the same thing, and its repeat is recognised."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "io.aquatint.finetune.requested",
        "data": ASKED,
    }
    headers = {**ACME, "content-type": "application/cloudevents+json"}
    first, again = (door.call("POST", "/v1/events", headers, content=json.dumps(event)).json() for _ in "12")
    assert (first["id"], first["kind"]) == (again["id"], "finetune") and again["duplicate"]
    assert door.call("GET", first["url"]).json()["state"] == "queued"


def test_refusals_are_problems(door: Door) -> None:
    """Typed, with field and limit, and nothing is kept."""
    assert problem(door.ask(rank=65), 422, "out_of_range", "rank")["limit"] == 64
    assert problem(door.ask(images="uploads/none/"), 422, "out_of_range", "images")["limit"] == [4, 2000]
    problem(door.ask(colour="red"), 422, "unknown_field", "colour")
    problem(door.call("POST", "/v1/finetunes", content=b"{"), 415, "wrong_media_type", "content-type")
    # An installation that takes no fine-tunes at all.
    problem(door.api.call("POST", "/v1/finetunes", json=ASKED), 422, "unsupported", "type")
    with door.api.ledger.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM finetune")).scalar_one() == 0


def test_canceling_and_the_list(door: Door) -> None:
    """Canceled at once and once; the list is the tenant's own, newest first, page by page."""
    ids = [door.ask(name=f"n{number}").json()["id"] for number in range(3)]
    door.ask(BOLT)
    for _ in range(2):
        assert door.call("DELETE", f"/v1/finetunes/{ids[0]}").json()["state"] == "canceled"
    page = door.call("GET", "/v1/finetunes?limit=2").json()
    assert [one["finetune"] for one in page["finetunes"]] == [ids[2], ids[1]]
    rest = door.call("GET", f"/v1/finetunes?limit=2&before={page['next']}").json()
    assert [(one["finetune"], one["state"]) for one in rest["finetunes"]] == [(ids[0], "canceled")]
    assert rest["next"] is None
    deliveries = door.call("GET", f"/v1/deliveries?about={ids[0]}").json()["deliveries"]
    assert [one["type"] for one in deliveries] == ["finetune.completed"]


def test_adapters_are_listed_and_forgotten(door: Door) -> None:
    """By name, for their tenant alone; a forgotten one is not there any more."""
    for name in ("b", "a"):
        id = door.ask(name=name).json()["id"]
        with door.api.ledger.begin() as conn:
            complete(conn, id, trained(), 5.0)
    assert door.call("GET", f"/v1/finetunes/{id}").json()["adapter"]["digest"] == "d" * 64
    found = door.call("GET", "/v1/adapters?limit=1").json()
    assert [(one["name"], one["trigger"], one["finetune"]) for one in found["adapters"]] == [
        ("a", "a style", id)
    ]
    assert [
        one["name"] for one in door.call("GET", f"/v1/adapters?after={found['next']}").json()["adapters"]
    ] == ["b"]
    assert door.call("GET", "/v1/adapters", BOLT).json()["adapters"] == []
    problem(door.call("DELETE", "/v1/adapters/a", BOLT), 404, "not_found", "name")
    assert door.call("DELETE", "/v1/adapters/a").status_code == 204
    problem(door.call("DELETE", "/v1/adapters/a"), 404, "not_found", "name")
    problem(door.call("DELETE", "/v1/adapters/%00"), 404, "not_found", "name")
    assert [one["name"] for one in door.call("GET", "/v1/adapters").json()["adapters"]] == ["b"]


def test_metrics_count_them_by_state(door: Door) -> None:
    """Read from the ledger, so that every process tells the same."""
    id = door.ask().json()["id"]
    door.ask(name="other")
    door.call("DELETE", f"/v1/finetunes/{id}")
    lines = door.call("GET", "/metrics").text.splitlines()
    assert 'finetunes{state="queued"} 1.0' in lines and 'finetunes{state="canceled"} 1.0' in lines
    assert 'http_requests_total{method="DELETE",route="/v1/finetunes/{id}",status="200"} 1.0' in lines

"""The fixture of the API tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from api_world import OUTCOMES_SECRET, TOKENS, AllowAll, Api, NoRecipes, Watched
from fastapi.testclient import TestClient
from kept_pictures import input_ports
from prometheus_client import CollectorRegistry

from handlers.api.app import make_api
from handlers.api.ports import ApiDeps
from handlers.inputs import Inputs
from handlers.intake import Intake
from handlers.planner import Planner
from handlers.triggers import Trigger
from handlers.webhooks.address_guard import AddressGuard
from schemas.model_offer import ModelOffer
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.signed_link import LinkSigner
from storage.objects.store import ObjectStore


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    offer = ModelOffer(
        name="starter", digest="a" * 64, sizes=((128, 128),), default_steps=8, max_steps=50, default_guidance=3.0,
        max_prompt_tokens=64, domain="closed", features=("image_to_image", "inpainting"),
    )  # fmt: skip
    signer = LinkSigner(secret=bytes(32), base_url="http://testserver/v1/objects")
    store, uploads = MemoryStore(bucket="results", signer=signer), MemoryStore(bucket="uploads")

    def results(tenant: str) -> ObjectStore:
        return PrefixedStore(store, f"tenants/{tenant}")

    inputs = Inputs(input_ports(results, lambda tenant: PrefixedStore(uploads, tenant)))
    guard = AddressGuard(
        resolver=lambda host, port: ["10.0.0.1"] if "internal" in host else ["93.184.216.34"]
    )
    planner = Planner(
        offers={"starter": offer}, default_model="starter", screen=AllowAll(), policy="strict", policy_digest="b" * 64,
        check_webhook=partial(guard.check, field="webhook.url"), resolve_input=inputs.resolve,
    )  # fmt: skip
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.migrate()
        triggers = [Trigger(bucket="uploads", tenant="acme")]
        intake = Watched(Intake(ledger=ledger, planner=planner, recipes=NoRecipes(), triggers=triggers))
        reports = list[bytes]()
        deps = ApiDeps(
            ledger=ledger, intake=intake, metrics=CollectorRegistry(), tokens=TOKENS, notification_token="store-token",
            take_input=inputs.accept, results=results, served_stores={"results": store}, links=signer,
            publish_report=reports.append, outcomes_secret=OUTCOMES_SECRET,
        )  # fmt: skip
        with TestClient(make_api(deps), raise_server_exceptions=False) as client:
            yield Api(client=client, deps=deps, ledger=ledger, intake=intake, store=store, reports=reports)

"""From a customer's picture to a stored one: the parts of an installation, with a model by hand and no processes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_plane import Fleet
from fastapi.testclient import TestClient
from pictures import a_mask, as_file
from PIL import Image, ImageDraw
from toy_model import CARD, adapter_files, put_adapter
from toy_parts import ToyParts

from deploy.api_deps import api_deps
from deploy.crew import Crew
from deploy.environment import load_settings
from handlers.api.app import make_api
from handlers.manifest_planner import ManifestPlanner
from models.inputs import fit_to
from safety.input_image import decode
from schemas.object_event import ObjectCreated
from schemas.receipt import Receipt
from storage.ledger import adapters
from storage.ledger.adapters import AdapterRow
from workers.worker import Worker, WorkerSettings


class Shop:
    """The API and one worker over the ledger and the stores of a home folder."""

    def __init__(self, home: Path) -> None:
        # Without a recipe: those that are shipped speak of things that the toy has no words for.
        # And without a classifier, which an operator who takes in pictures has to waive.
        given = {"AQUATINT_HOME": str(home), "AQUATINT_UPLOAD_SCREENING": "installed"}
        settings = load_settings(given, None).model_copy(update={"upload_recipe": ""})
        self.parts = ToyParts(settings=settings)
        self.client = TestClient(make_api(api_deps(self.parts, Crew())))
        self.fleet = Fleet(self.parts.ledger, models=(self.parts.offer,))
        self.worker = Worker(
            WorkerSettings(worker_id="w1", heartbeat_seconds=None),
            renderer=self.parts.renderer(),
            screen=self.parts.output_screen,
            stores=self.parts.results_of,
            reporter=self,
            way_out=self.parts.way_out,
            inputs=self.parts.input_reader,
        )
        self.results = self.parts.results_of("default")

    def report(self, report: Any) -> None:
        self.fleet.report(report)

    def send(self, data: bytes) -> str:
        answer = self.client.post("/v1/inputs", content=data, headers={"content-type": "image/png"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["reference"])

    def submit(self, **fields: Any) -> str:
        answer = self.client.post("/v1/jobs", json={"prompt": "red mug", **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def render(self) -> None:
        self.fleet.beat("w1")
        while sent := self.fleet.tick():
            for one in sent:
                self.worker.handle(one)

    def images(self, id: str) -> list[dict[str, Any]]:
        place = "jobs" if id.startswith("job") else "batches"
        return list(self.client.get(f"/v1/{place}/{id}").json()["images"])

    def pixels(self, image: dict[str, Any]) -> np.ndarray:
        assert image["state"] == "rendered", image
        return np.asarray(Image.open(io.BytesIO(self.results.get(image["key"]))).convert("RGB"))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    one = Shop(tmp_path / "home")
    with one.worker:
        yield one
    one.parts.ledger.close()


def a_photo() -> bytes:
    """A product on a ground, not of the model's shape."""
    photo = Image.new("RGB", (300, 200), (240, 230, 220))
    ImageDraw.Draw(photo).ellipse((90, 40, 210, 160), fill=(180, 30, 30))
    return as_file(photo)


def test_a_request_with_everything_becomes_a_stored_picture(shop: Shop) -> None:
    """Sent over HTTP, planned, fetched, drawn, screened, stored: unmasked pixels are those that were sent."""
    photo, mask = a_photo(), as_file(a_mask(300, 200))
    adapter = put_adapter(shop.results, adapter_files("acme"))
    with shop.parts.ledger.begin() as conn:
        row = AdapterRow(tenant="default", name="acme", digest=adapter, model="toy", base_digest=CARD.base_digest, rank=2, created_at=1.0)  # fmt: skip
        adapters.register(conn, row)
    job = shop.submit(
        image=shop.send(photo),
        mask=shop.send(mask),
        control=[{"kind": "edges", "image": shop.send(photo), "weight": 0.8}],
        adapters=[{"name": "acme", "weight": 0.5}],
    )
    shop.render()
    (image,) = shop.images(job)
    pixels, sent = shop.pixels(image), fit_to(decode(photo), 64, 64)
    assert np.array_equal(pixels[:, :28], sent[:, :28]) and not np.array_equal(pixels[:, 40:], sent[:, 40:])
    receipt = Receipt.model_validate_json(shop.results.get(image["receipt_key"]))
    assert [one.field for one in receipt.inputs] == ["image", "mask", "control.0.image"]
    assert (receipt.spec.strength, receipt.spec.adapters[0].digest) == (1.0, adapter)
    # What is kept is a clean copy: its record says of what, and what the screens said.
    record = shop.parts.kept_inputs_of("default").record(receipt.inputs[0].sha256)
    assert record is not None and [one.stage for one in record.verdicts.values()] == ["upload"]


def test_a_result_can_be_the_next_input(shop: Shop) -> None:
    """A picture that was made here goes into the next one by its key."""
    first = shop.submit()
    shop.render()
    key = shop.images(first)[0]["key"]
    again = shop.submit(image=f"results/{key}", strength=0.2)
    shop.render()
    close = shop.pixels(shop.images(again)[0]).astype(int) - shop.pixels(shop.images(first)[0])
    other = shop.submit(seed=5)
    shop.render()
    far = shop.pixels(shop.images(other)[0]).astype(int) - shop.pixels(shop.images(first)[0])
    assert np.abs(close).mean() < np.abs(far).mean()


def test_a_manifest_of_photos(shop: Shop) -> None:
    """Rows with pictures from the watched folder are drawn, bad ones are row errors, and a later deletion breaks nothing."""
    uploads = shop.parts.uploads
    uploads.put("photos/a.png", a_photo())
    uploads.put("photos/broken.png", a_photo()[:200])
    lines = [
        {"prompt": "red mug", "image": "uploads/photos/a.png", "strength": 0.4},
        {"prompt": "red mug", "image": "uploads/photos/broken.png"},
        {"prompt": "red mug", "control_kind": "sketch", "control_image": "uploads/photos/a.png"},
        {"prompt": "mug", "adapters": "nobody"},
        {"prompt": "mug"},
    ]
    uploads.put("list.jsonl", "\n".join(map(json.dumps, lines)).encode())
    batch = shop.parts.intake.object_created(
        ObjectCreated(bucket=uploads.bucket, key="list.jsonl", version="1"), "default"
    ).id
    assert batch is not None
    planner = ManifestPlanner(
        ledger=shop.parts.ledger,
        planner=shop.parts.planner,
        recipes=shop.parts.recipes,
        stores={uploads.bucket: uploads},
    )
    while planner.step():
        pass
    uploads.delete("photos/a.png")
    shop.render()

    seen = shop.client.get(f"/v1/batches/{batch}").json()
    assert [(one["row"], one["code"], one["field"]) for one in seen["rejected"]] == [
        (2, "image_damaged", "image"),
        (4, "input_missing", "adapters.0.name"),
    ]
    assert [one["state"] for one in shop.images(batch)] == ["rendered"] * 3


def test_an_input_that_vanished_fails_its_image_alone(shop: Shop) -> None:
    """Bytes that were removed from the results store after planning: that image ends at the stage fetch, the others are drawn."""
    reference = shop.send(a_photo())
    lost, kept = shop.submit(image=reference, strength=0.5), shop.submit()
    sha = reference.removeprefix("inputs/")
    shop.results.delete(f"inputs/{sha[:2]}/{sha}")
    shop.render()
    (failed,) = shop.images(lost)
    assert (failed["state"], failed["failure"]["stage"], failed["failure"]["code"]) == ("failed", "fetch", "input_missing")  # fmt: skip
    assert shop.images(kept)[0]["state"] == "rendered"

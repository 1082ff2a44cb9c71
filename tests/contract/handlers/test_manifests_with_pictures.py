"""Manifests whose rows bring pictures: a bad one ends its row alone, and what was planned stays as it was planned."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from control_plane import MODEL, Fleet, a_planner
from kept_pictures import input_ports, same_pixels
from pictures import a_picture, as_file

from handlers.inputs import Inputs
from handlers.intake import Intake
from handlers.manifest_planner import ManifestParams, ManifestPlanner
from handlers.triggers import Trigger
from safety.input_image import PictureReader
from schemas.cloudevent import GENERATION_REQUESTED, CloudEvent
from schemas.errors import InputMissing, StoreUnavailable
from schemas.input_image import CleanPicture
from schemas.object_event import ObjectCreated
from schemas.object_keys import input_key
from storage.ledger import adapters, batches, images
from storage.ledger.adapters import AdapterRow
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.store import ObjectStore

FEATURES = ("image_to_image", "inpainting", "control:edges", "adapters")
ABLE = MODEL.model_copy(
    update={"features": FEATURES, "max_adapters": 4, "max_adapter_rank": 64, "base_digest": "e" * 64}
)
PNG, OTHER = as_file(a_picture()), as_file(a_picture(seed=8))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shop:
    """Intake and manifest planner over memory stores, as an installation wires them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.fleet = ledger, Fleet(ledger, models=(ABLE,))
        self.uploads, self.results = MemoryStore(bucket="uploads"), MemoryStore(bucket="results")
        self.looked = 0
        ports = input_ports(
            lambda tenant: self.of(self.results, tenant),
            lambda tenant: self.of(self.uploads, tenant),
            clean=self.look,
        )
        inputs = Inputs(ports)
        planner = replace(a_planner(ABLE), resolve_input=inputs.resolve, find_adapter=self.find)
        clock = self.fleet.clock
        self.intake = Intake(
            ledger=ledger,
            planner=planner,
            recipes=None,  # type: ignore[arg-type]  # no row names one
            triggers=(Trigger(bucket="uploads", tenant="default"),),
            clock=clock,
        )
        self.manifests = ManifestPlanner(
            ledger=ledger,
            planner=planner,
            recipes=None,  # type: ignore[arg-type]
            stores={"uploads": self.uploads},
            params=ManifestParams(chunk_rows=3, retry_seconds=1.0),
            clock=clock,
        )

    def of(self, store: MemoryStore, tenant: str) -> ObjectStore:
        return store if tenant == "default" else PrefixedStore(store, f"tenants/{tenant}")

    def look(self, data: bytes) -> CleanPicture:
        self.looked += 1
        return PictureReader().clean(data)

    def find(self, tenant: str, name: str) -> AdapterRow | None:
        with self.ledger.read() as conn:
            return adapters.find(conn, tenant, name)

    def upload(self, key: str, data: bytes | str) -> None:
        self.uploads.put(key, data.encode() if isinstance(data, str) else data, if_absent=False)

    def manifest(self, key: str, data: str) -> str:
        self.upload(key, data)
        accepted = self.intake.object_created(
            ObjectCreated(bucket="uploads", key=key, version="1"), "default"
        )
        assert accepted.id is not None
        return accepted.id

    def plan(self) -> None:
        while self.manifests.step():
            pass

    def specs(self, batch: str) -> dict[int, dict[str, Any]]:
        """Row number to spec."""
        with self.ledger.read() as conn:
            return {row.row: json.loads(row.spec) for row in images.of_batch(conn, batch)}

    def errors(self, batch: str) -> list[tuple[int, str, str | None]]:
        with self.ledger.read() as conn:
            found = [(row.row, json.loads(row.problem)) for row in batches.row_errors(conn, batch)]
        return [(row, told["code"], told["field"]) for row, told in found]


@pytest.fixture
def shop(sqlite_ledger: Ledger) -> Shop:
    return Shop(sqlite_ledger)


def test_a_bad_picture_takes_no_neighbour_with_it(ledger: Ledger) -> None:
    """Rows with pictures that are missing, broken or somebody else's are refused by row and column; the rest run."""
    shop = Shop(ledger)
    shop.upload("good.png", PNG)
    shop.upload("cut.png", PNG[:-60])
    shop.upload("page.html", b"<html>")
    shop.upload("tenants/bolt/secret.png", PNG)
    rows = [
        "a mug,uploads/good.png,,,",
        "a mug,uploads/cut.png,,,",
        "a mug,uploads/none.png,,,",
        "a mug,uploads/page.html,,,",
        "a mug,uploads/tenants/bolt/secret.png,,,",
        "a mug,https://shop.example/a.png,,,",
        "a mug,,edges,uploads/cut.png,",
        "a mug,,sketch,uploads/good.png,",
        "a mug,,,,acme",
        "a cup,,edges,uploads/good.png,",
    ]
    id = shop.manifest("list.csv", "prompt,image,control_kind,control_image,adapters\n" + "\n".join(rows))
    shop.plan()

    assert shop.errors(id) == [
        (2, "image_damaged", "image"),
        (3, "input_missing", "image"),
        (4, "image_unsupported", "image"),
        (5, "out_of_range", "image"),
        (6, "unsupported", "image"),
        (7, "image_damaged", "control_image"),
        (8, "unsupported", "control_kind"),
        (9, "input_missing", "adapters"),
    ]
    specs = shop.specs(id)
    assert set(specs) == {1, 10}
    assert specs[1]["image"] == specs[10]["control"][0]["image"] == sha256(PNG)


def test_a_picture_in_every_row_is_looked_at_once(shop: Shop) -> None:
    """Duplicate references of a manifest cost one decode."""
    shop.upload("good.png", PNG)
    id = shop.manifest(
        "list.csv", "prompt,image\n" + "".join(f"mug {n},uploads/good.png\n" for n in range(20))
    )
    shop.plan()
    assert (shop.looked, len(shop.specs(id))) == (1, 20)


def test_json_lines_bring_the_same(shop: Shop) -> None:
    """Flat or nested, a line of JSONL gives the spec that a table gives."""
    shop.upload("good.png", PNG)
    with shop.ledger.begin() as conn:
        adapters.register(
            conn,
            AdapterRow(tenant="default", name="acme", digest="7" * 64, model="starter", base_digest="e" * 64, rank=8, created_at=1.0),
        )  # fmt: skip
    flat = {"prompt": "a mug", "seed": 1, "image": "uploads/good.png", "strength": 0.5, "control_kind": "edges", "control_image": "uploads/good.png", "adapters": "acme:0.8"}  # fmt: skip
    nested = {"prompt": "a mug", "seed": 1, "image": "uploads/good.png", "strength": 0.5, "control": [{"kind": "edges", "image": "uploads/good.png"}], "adapters": [{"name": "acme", "weight": 0.8}]}  # fmt: skip
    lines = shop.manifest("a.jsonl", f"{json.dumps(flat)}\n{json.dumps(nested)}\n")
    table = shop.manifest(
        "b.csv",
        "prompt,seed,image,strength,control_kind,control_image,adapters\n"
        "a mug,1,uploads/good.png,0.5,edges,uploads/good.png,acme:0.8\n",
    )
    shop.plan()

    assert shop.errors(lines) == shop.errors(table) == []
    specs = [*shop.specs(lines).values(), *shop.specs(table).values()]
    assert specs[0] == specs[1] == specs[2] and specs[0]["adapters"][0]["digest"] == "7" * 64


def event(id: str, **data: object) -> CloudEvent:
    data = {"prompt": "a red mug", **data}
    return CloudEvent(specversion="1.0", id=id, source="shop", type=GENERATION_REQUESTED, data=data)


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
def test_an_accepted_image_does_not_change_with_its_upload(shop: Shop, change: str) -> None:
    """What reaches the worker names the bytes of the moment of acceptance, and they are in the results store."""
    shop.upload("mug.png", PNG)
    shop.intake.accept(event("1", image="uploads/mug.png"), "default")
    if change == "deleted":
        shop.uploads.delete("mug.png")
    else:
        shop.upload("mug.png", OTHER)

    shop.fleet.beat("w1")
    (sent,) = shop.fleet.tick()
    assert sent.images[0].spec.image == sha256(PNG)
    assert same_pixels(shop.results.get(input_key(sha256(PNG))), PNG)


def test_a_repeat_of_an_event_stays_accepted_when_its_upload_is_gone(shop: Shop) -> None:
    """The upload may be cleaned away after acceptance: the repeat is a duplicate, a new event is refused."""
    shop.upload("mug.png", PNG)
    first = shop.intake.accept(event("1", image="uploads/mug.png"), "default")
    shop.uploads.delete("mug.png")

    again = shop.intake.accept(event("1", image="uploads/mug.png"), "default")
    assert (again.id, again.duplicate) == (first.id, True)
    with pytest.raises(InputMissing):
        shop.intake.accept(event("2", image="uploads/mug.png"), "default")


def test_a_manifest_waits_for_a_store_that_does_not_answer(shop: Shop) -> None:
    """A store in trouble makes no row errors: the manifest is planned when it is back."""
    shop.upload("good.png", PNG)
    real = shop.uploads.head

    def down(key: str) -> Any:
        if key == "good.png":
            raise StoreUnavailable
        return real(key)

    shop.uploads.head = down  # type: ignore[method-assign]
    id = shop.manifest("list.csv", "prompt,image\na mug,uploads/good.png\n")
    shop.plan()
    assert (shop.specs(id), shop.errors(id)) == ({}, [])
    shop.uploads.head = real  # type: ignore[method-assign]
    shop.fleet.clock.pass_by(5)
    shop.plan()
    assert (len(shop.specs(id)), shop.errors(id)) == (1, [])


def test_a_manifest_in_a_tenants_folder_is_that_tenants(shop: Shop) -> None:
    """Whoever can only write to a tenant's folder can name nothing of the owner of the store."""
    shop.upload("secret.png", PNG)
    shop.upload("tenants/bolt/own.png", OTHER)
    id = shop.manifest(
        "tenants/bolt/list.csv", "prompt,image\na mug,uploads/secret.png\na mug,uploads/own.png\n"
    )
    shop.plan()
    assert shop.errors(id) == [(1, "input_missing", "image")]
    assert shop.specs(id)[2]["image"] == sha256(OTHER)
    kept = f"tenants/bolt/{input_key(sha256(OTHER))}"
    assert [entry.key for entry in shop.results.list()] == [kept, f"{kept}.json"]

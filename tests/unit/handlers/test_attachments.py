"""What the model cannot do is refused while planning, by field and limit, before anything is read or rendered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from control_plane import MODEL, a_planner

from handlers.attachments import DEFAULT_STRENGTH, MASKED_STRENGTH
from handlers.planner import Origin, Plan, Planner
from models import shot
from schemas.errors import BadImage, BadInput, InputMissing, OutOfRange, StoreUnavailable, Unsupported
from schemas.input_image import JudgedInput
from schemas.model_offer import ModelOffer
from schemas.render_spec import RenderSpec, UsedAdapter, UsedControl
from schemas.request import GenerationRequest
from storage.ledger.adapters import AdapterRow

ABLE = MODEL.model_copy(
    update={
        "features": ("image_to_image", "inpainting", "control:edges", "adapters"),
        "max_adapters": 2,
        "max_adapter_rank": 24,
        "base_digest": "e" * 64,
    }
)
PICTURES = {
    "uploads/photo.jpg": JudgedInput(sha256="1" * 64, media_type="image/jpeg", bytes=9, width=1200, height=800),
    "uploads/mask.png": JudgedInput(sha256="2" * 64, media_type="image/png", bytes=9, width=600, height=401),
    "uploads/tall.png": JudgedInput(sha256="3" * 64, media_type="image/png", bytes=9, width=800, height=1200),
    "uploads/holes.png": JudgedInput(sha256="4" * 64, media_type="image/png", bytes=9, width=600, height=400, transparent=True),
    "uploads/black.png": JudgedInput(sha256="5" * 64, media_type="image/png", bytes=9, width=600, height=400, lightest=20),
}  # fmt: skip


def an_adapter(name: str, rank: int = 8, base: str = "e" * 64) -> AdapterRow:
    digest = name[0] * 64
    return AdapterRow(
        tenant="acme", name=name, digest=digest, model="starter", base_digest=base, rank=rank, created_at=1.0
    )


ADAPTERS = {one.name: one for one in (an_adapter("acme"), an_adapter("bolt", 16), an_adapter("fat", 17), an_adapter("xeno", base="9" * 64))}  # fmt: skip


class Shelf:
    """Resolves for one tenant, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.policies: set[str] = set()
        self.fault: Exception | None = None

    def resolve(self, tenant: str, reference: str, policy_digest: str) -> JudgedInput:
        self.asked.append((tenant, reference))
        self.policies.add(policy_digest)
        if self.fault is not None:
            raise self.fault
        if reference not in PICTURES:
            raise InputMissing(f"there is no {reference}")
        return PICTURES[reference]

    def find(self, tenant: str, name: str) -> AdapterRow | None:
        self.asked.append((tenant, name))
        return ADAPTERS.get(name) if tenant == "acme" else None


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def planner_of(shelf: Shelf, offer: ModelOffer = ABLE) -> Planner:
    return replace(a_planner(offer), resolve_input=shelf.resolve, find_adapter=shelf.find)


def shape(planner: Planner, tenant: str = "acme", **fields: Any) -> Plan:
    request = GenerationRequest.model_validate({"prompt": "a red mug", **fields})
    return planner.shape(request, Origin(tenant=tenant), 1000.0)


def spec_of(plan: Plan) -> RenderSpec:
    return RenderSpec.model_validate_json(plan.images[0].spec)


EDGES = {"kind": "edges", "image": "uploads/tall.png"}


def test_what_is_brought_stands_in_the_spec_by_its_digest(shelf: Shelf) -> None:
    """Digests and numbers, never references: the spec means the same whatever happens to the upload."""
    spec = spec_of(
        shape(
            planner_of(shelf),
            image="uploads/photo.jpg",
            mask="uploads/mask.png",
            strength=0.7,
            control=[{**EDGES, "weight": 0.5}],
            adapters=[{"name": "acme", "weight": 0.8}, {"name": "bolt"}],
        )
    )
    assert (spec.image, spec.mask, spec.strength) == ("1" * 64, "2" * 64, 0.7)
    assert spec.control == (UsedControl(kind="edges", image="3" * 64, weight=0.5),)
    assert spec.adapters == (
        UsedAdapter(name="acme", weight=0.8, digest="a" * 64),
        UsedAdapter(name="bolt", weight=1.0, digest="b" * 64),
    )
    assert {tenant for tenant, _ in shelf.asked} == {"acme"}


@pytest.mark.parametrize(
    ("brought", "strength"),
    [
        ({}, None),
        ({"image": "uploads/photo.jpg"}, DEFAULT_STRENGTH),
        ({"image": "uploads/photo.jpg", "mask": "uploads/mask.png"}, 1.0),
        ({"image": "uploads/photo.jpg", "mask": "uploads/mask.png", "strength": 0.3}, 0.3),
    ],
)
def test_the_strength_is_written_down(shelf: Shelf, brought: dict[str, Any], strength: float | None) -> None:
    """A default is resolved when the image is named, so that a later default changes no image."""
    assert spec_of(shape(planner_of(shelf), **brought)).strength == strength


def test_planning_and_model_agree_on_the_default() -> None:
    """Handlers know no model code, so the numbers stand twice."""
    assert (DEFAULT_STRENGTH, MASKED_STRENGTH) == (shot.DEFAULT_STRENGTH, shot.DEFAULT_INPAINT_STRENGTH)


def test_pictures_and_adapters_do_not_split_batches(shelf: Shelf) -> None:
    """A request with a picture shares its microbatch with one without."""
    planner = planner_of(shelf)
    keys = {shape(planner, **brought).images[0].batch_key for brought in ({}, {"image": "uploads/photo.jpg"}, {"adapters": [{"name": "acme"}]})}  # fmt: skip
    assert len(keys) == 1


def test_an_adapter_that_was_trained_again_names_other_images(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec holds what the name stood for, so a new adapter of that name renders anew."""
    before = shape(planner_of(shelf), adapters=[{"name": "acme"}]).images[0].digest
    monkeypatch.setitem(ADAPTERS, "acme", replace(ADAPTERS["acme"], digest="7" * 64))
    assert shape(planner_of(shelf), adapters=[{"name": "acme"}]).images[0].digest != before


@pytest.mark.parametrize(
    ("features", "brought", "error", "field", "limit"),
    [
        ((), {"image": "uploads/photo.jpg"}, Unsupported, "image", []),
        (("image_to_image",), {"image": "uploads/photo.jpg", "mask": "uploads/mask.png"}, Unsupported, "mask", ["image_to_image"]),
        (("control:edges",), {"control": [{**EDGES, "kind": "sketch"}]}, Unsupported, "control.0.kind", ["edges"]),
        (("control:edges",), {"control": [EDGES, EDGES]}, OutOfRange, "control", 1),
        ((), {"adapters": [{"name": "acme"}]}, Unsupported, "adapters", []),
        (("adapters",), {"adapters": [{"name": "acme"}, {"name": "bolt"}, {"name": "fat"}]}, OutOfRange, "adapters", 2),
    ],
)  # fmt: skip
def test_what_the_model_cannot_do_is_refused_unread(
    shelf: Shelf,
    features: tuple[str, ...],
    brought: dict[str, Any],
    error: type[BadInput],
    field: str,
    limit: object,
) -> None:
    """The refusal names field and limit, and nothing was fetched for it."""
    offer = ABLE.model_copy(update={"features": features})
    with pytest.raises(error) as caught:
        shape(planner_of(shelf, offer), **brought)
    assert (caught.value.field, caught.value.limit, shelf.asked) == (field, limit, [])


@pytest.mark.parametrize(
    ("brought", "error", "field"),
    [
        ({"image": "uploads/none.png"}, InputMissing, "image"),
        ({"image": "uploads/photo.jpg", "mask": "uploads/none.png"}, InputMissing, "mask"),
        ({"control": [{"kind": "edges", "image": "uploads/none.png"}]}, InputMissing, "control.0.image"),
        ({"image": "uploads/photo.jpg", "mask": "uploads/tall.png"}, OutOfRange, "mask"),
        ({"image": "uploads/photo.jpg", "mask": "uploads/holes.png"}, Unsupported, "mask"),
        ({"image": "uploads/photo.jpg", "mask": "uploads/black.png"}, OutOfRange, "mask"),
        ({"adapters": [{"name": "acme"}, {"name": "nobody"}]}, InputMissing, "adapters.1.name"),
        ({"adapters": [{"name": "xeno"}]}, Unsupported, "adapters.0.name"),
        ({"adapters": [{"name": "acme"}, {"name": "fat"}]}, OutOfRange, "adapters"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field(
    shelf: Shelf, brought: dict[str, Any], error: type[BadInput], field: str
) -> None:
    """Missing, empty, of another shape, made for another model, or too much together: each names its field."""
    with pytest.raises(error) as caught:
        shape(planner_of(shelf), **brought)
    assert caught.value.field == field and caught.value.actor == "caller"


def test_a_bad_picture_keeps_its_reason(shelf: Shelf) -> None:
    """The error of whoever looked at the picture is passed on, with the field."""
    shelf.fault = BadImage("it is animated", limit=1)
    with pytest.raises(BadImage, match="image: it is animated") as caught:
        shape(planner_of(shelf), image="uploads/photo.jpg")
    assert caught.value.limit == 1


def test_a_store_at_fault_is_not_the_callers_error(shelf: Shelf) -> None:
    """A store that does not answer passes through as what it is: the request may be sent again."""
    shelf.fault = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        shape(planner_of(shelf), image="uploads/photo.jpg")


def test_another_tenants_adapter_is_not_found(shelf: Shelf) -> None:
    """A name means only what it means to the tenant."""
    with pytest.raises(InputMissing):
        shape(planner_of(shelf), "bolt", adapters=[{"name": "acme"}])


def test_a_refused_prompt_reads_nothing(shelf: Shelf) -> None:
    """The prompt is screened before anything is fetched for it."""
    with pytest.raises(BadInput):
        shape(planner_of(shelf), prompt="forbidden fruit", image="uploads/photo.jpg")
    assert shelf.asked == []

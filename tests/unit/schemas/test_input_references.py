"""How requests name pictures, and what cannot be named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.input_reference import InputReference
from schemas.object_keys import RESERVED_PREFIXES, input_key
from schemas.problem import from_validation, problem
from schemas.request import GenerationRequest
from storage.objects.store import is_storable

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("text", "place", "key"),
    [
        ("uploads/photo.jpg", "uploads", "photo.jpg"),
        ("uploads/2026/11/a b (1).JPG", "uploads", "2026/11/a b (1).JPG"),
        ("uploads/images/x.png", "uploads", "images/x.png"),
        (f"results/images/ab/{SHA}.png", "results", f"images/ab/{SHA}.png"),
        ("results/catalogue/MUG-1.webp", "results", "catalogue/MUG-1.webp"),
        (f"inputs/{SHA}", "inputs", SHA),
        ("https://shop.example/a.png?size=2", "web", "https://shop.example/a.png?size=2"),
        ("HTTPS://shop.example/a.png", "web", "HTTPS://shop.example/a.png"),
    ],
)
def test_four_places_can_be_named(text: str, place: str, key: str) -> None:
    """Uploads, results and what was sent before, each by its key; and what lies on the web, by its address."""
    assert InputReference.parse(text) == InputReference(place=place, key=key)  # type: ignore[arg-type]


HOSTILE = [
    "",
    "photo.jpg",
    "/uploads/a",
    "uploads",
    "uploads/",
    "uploads//a",
    "uploads/../results/a",
    "uploads/a/../../b",
    "uploads/./a",
    "uploads/a/",
    "uploads/..\\..\\a",
    "uploads/tenants/bolt/a.png",
    "uploads/a\x00.png",
    "uploads/a\n.png",
    "uploads/" + "a" * 1025,
    "uploads/" + "é" * 513,
    "results/tenants/bolt/images/ab/cd.png",
    f"results/receipts/ab/{SHA}.json",
    "results/batches/bat_1/results.jsonl",
    f"results/inputs/ab/{SHA}",
    f"results/adapters/{SHA}/adapter.json",
    f"inputs/{SHA[:-1]}",
    f"inputs/{SHA.upper()}",
    f"inputs/{SHA}/x",
    f"inputs/ab/{SHA}",
    "images/ab/cd.png",
    "UPLOADS/a.png",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_else_can_be_named(text: str) -> None:
    """Other tenants' objects, paths that climb, and what is no picture have no name."""
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({"prompt": "a", "image": text})
    told = problem(from_validation(caught.value))
    assert (told.code, told.field, told.status) == ("out_of_range", "image", 422)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a.png",
        "ftp://shop.example/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("field", ["image", "mask", "control.0.image"])
def test_addresses_are_refused_with_the_way_to_go(text: str, field: str) -> None:
    """Only what https leads to is fetched; the answer says what to do instead, and names the field."""
    named = {
        "image": f"inputs/{SHA}",
        "mask": f"inputs/{SHA}",
        "control": [{"kind": "edges", "image": f"inputs/{SHA}"}],
    }
    brought = (
        {**named, "control": [{"kind": "edges", "image": text}]}
        if "control" in field
        else {**named, field: text}
    )
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({"prompt": "a", **brought})
    told = problem(from_validation(caught.value))
    assert (told.code, told.field) == ("unsupported", field)
    assert "POST /v1/inputs" in told.detail


@given(
    st.sampled_from(["uploads", "results", "inputs"]),
    st.text(max_size=40)
    | st.lists(st.sampled_from(["..", ".", "", "a", "tenants", "images", "b.png"]), max_size=6).map("/".join),
)
def test_a_reference_stays_inside_its_tenants_stores(place: str, rest: str) -> None:
    """Whatever parses is a key that every store can hold, below no other tenant's folder and no kept prefix."""
    try:
        named = InputReference.parse(f"{place}/{rest}")
    except ValueError:
        return
    key = input_key(named.key) if named.place == "inputs" else named.key
    assert is_storable(key) and not key.startswith("tenants/") and ".." not in key.split("/")
    if named.place == "results":
        assert key.startswith("images/") or not key.startswith(RESERVED_PREFIXES)


@pytest.mark.parametrize(
    ("body", "kind", "field", "limit"),
    [
        ({"mask": f"inputs/{SHA}"}, "missing_field", "image", None),
        ({"strength": 0.5}, "missing_field", "image", None),
        ({"image": None, "strength": 0.5}, "missing_field", "image", None),
        ({"image": "uploads/a", "strength": 0}, "out_of_range", "strength", 0),
        ({"image": "uploads/a", "strength": 1.01}, "out_of_range", "strength", 1),
        ({"image": "uploads/a", "strength": float("nan")}, "out_of_range", "strength", None),
        ({"control": [{"kind": "depth", "image": "uploads/a"}]}, "out_of_range", "control.0.kind", "'edges' or 'sketch'"),
        ({"control": [{"kind": "edges"}]}, "missing_field", "control.0.image", None),
        ({"control": [{"kind": "edges", "image": "uploads/a", "weight": 2.1}]}, "out_of_range", "control.0.weight", 2),
        ({"control": [{"kind": "edges", "image": "uploads/a"}] * 5}, "out_of_range", "control", 4),
        ({"control": [{"kind": "edges", "image": "uploads/a", "until": 1}]}, "unknown_field", "control.0.until", None),
        ({"adapters": [{"name": "acme"}, {"name": "acme", "weight": 2}]}, "out_of_range", "adapters", None),
        ({"adapters": [{"name": "../acme"}]}, "out_of_range", "adapters.0.name", None),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_by_field(
    body: dict[str, object], kind: str, field: str, limit: object
) -> None:
    """A mask or strength without an image, and values outside their limits, name the field to change."""
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({"prompt": "a", **body})
    told = problem(from_validation(caught.value))
    assert (told.code, told.field) == (kind, field)
    assert limit is None or told.limit == limit


def test_a_bad_image_is_told_before_its_mask() -> None:
    """The fault of the image itself comes first, not that the mask has none."""
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({"prompt": "a", "image": "s3://x/y", "mask": "uploads/m.png"})
    assert from_validation(caught.value).field == "image"

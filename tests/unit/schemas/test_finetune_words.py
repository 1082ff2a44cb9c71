"""What a request for a fine-tune may say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import BadInput, MissingField, OutOfRange, UnknownField, Unsupported
from schemas.finetune import MAX_REFERENCE_BYTES, FinetuneRequest, is_caption_list, is_picture
from schemas.input_reference import InputReference
from schemas.problem import from_validation

FOUR = [f"uploads/brand/{number}.png" for number in range(4)]


def refused(**fields: Any) -> BadInput:
    with pytest.raises(ValidationError) as invalid:
        FinetuneRequest.model_validate({"name": "acme", "images": FOUR, **fields})
    return from_validation(invalid.value)


@pytest.mark.parametrize(
    ("fields", "kind", "field", "limit"),
    [
        ({"images": FOUR[:3]}, OutOfRange, "images", [4, 2000]),
        ({"images": [f"uploads/{number}" for number in range(2001)]}, OutOfRange, "images", [4, 2000]),
        ({"images": [*FOUR, FOUR[0]]}, OutOfRange, "images", None),
        ({"images": ["uploads/brand/", *FOUR]}, OutOfRange, "images", None),
        ({"images": "https://example.org/brand/"}, OutOfRange, "images.0", None),
        ({"images": [*FOUR, "https://example.org/a.png"]}, Unsupported, "images.4", ...),
        ({"images": "results/brand/"}, OutOfRange, "images.0", None),
        ({"rank": 0}, OutOfRange, "rank", 1),
        ({"rank": 65}, OutOfRange, "rank", 64),
        ({"steps": 20_001}, OutOfRange, "steps", 20_000),
        ({"minutes": 241}, OutOfRange, "minutes", 240),
        ({"steps": 10, "minutes": 1}, OutOfRange, "minutes", 1),
        ({"name": "a/b"}, OutOfRange, "name", ...),
        ({"trigger": "five words are too many"}, OutOfRange, "trigger", ...),
        ({"trigger": "<script>"}, OutOfRange, "trigger", ...),
        ({"caption": "in {style}"}, OutOfRange, "caption", None),
        ({"captions": "uploads/brand/list.csv"}, OutOfRange, "captions", None),
        ({"captions": "results/captions.csv"}, OutOfRange, "captions", None),
        ({"metadata": {"k": "v" * 513}}, OutOfRange, "metadata.k", 512),
        ({"webhook": {"url": "https://e.org", "events": ["job.completed"]}}, OutOfRange, "webhook.events.0", ...),
        ({"webhook": {}}, MissingField, "webhook.url", None),
        ({"adapters": []}, UnknownField, "adapters", None),
    ],
)  # fmt: skip
def test_a_refusal_names_its_field_and_limit(
    fields: dict[str, Any], kind: type[BadInput], field: str, limit: Any
) -> None:
    """Every fault is a typed error that says where it is and against what."""
    error = refused(**fields)
    assert (type(error), error.field) == (kind, field)
    assert limit is ... or error.limit == limit


def test_a_long_list_is_asked_to_be_a_folder() -> None:
    """What would not fit into one message of every broker is refused, though its count is allowed."""
    names = [f"uploads/{number:04d}{'x' * 900}" for number in range(200)]
    assert refused(images=names).limit == MAX_REFERENCE_BYTES


def test_all_three_forms_and_a_folder_are_taken() -> None:
    """Pictures are named as in every request; one string is a folder."""
    mixed = ["uploads/a.png", "results/images/ab/x.png", "inputs/" + "0" * 64, "uploads/b.webp"]
    assert FinetuneRequest.model_validate({"name": "acme", "images": mixed}).images == tuple(mixed)
    folder = FinetuneRequest.model_validate({"name": "acme", "images": "uploads/brand/"})
    assert (folder.images, folder.caption, folder.rank) == (("uploads/brand/",), "{trigger}", 8)


@given(st.text(max_size=40))
def test_no_folder_leads_out_of_the_tenant_s_uploads(text: str) -> None:
    """Whatever stands between `uploads/` and the last slash, an accepted folder holds only keys that could be named."""
    try:
        request = FinetuneRequest.model_validate({"name": "acme", "images": f"uploads/{text}/"})
    except ValidationError:
        return
    prefix = request.images[0].removeprefix("uploads/")
    assert InputReference.parse(f"uploads/{prefix}0.png").key == f"{prefix}0.png"
    assert not f"{prefix}0.png".startswith("tenants/") and ".." not in prefix.split("/")


def test_what_counts_as_a_picture() -> None:
    """By name, in any case of letters; never what lies among other tenants' uploads."""
    names = ("a.PNG", "b/c.jpeg", "a.webp", "a.jpg", "a.gif", "a.png.txt", "captions.csv", "tenants/x/a.png")
    assert [name for name in names if is_picture(name)] == ["a.PNG", "b/c.jpeg", "a.webp", "a.jpg"]
    assert is_caption_list("brand/Captions.csv") and not is_caption_list("brand/captions.tsv")

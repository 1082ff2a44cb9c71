"""The words every room shares: ids, digests, states, requests, recipes and typed refusals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.canonical import digest
from schemas.cloudevent import CloudEvent
from schemas.errors import AquatintError, BadInput, MissingField, OutOfRange, UnknownField
from schemas.ids import encode, is_id, new_id, uuid7
from schemas.problem import from_validation, problem
from schemas.recipe import Recipe, Slot, substitute
from schemas.render_spec import RenderSpec, UsedAdapter, UsedControl, derive_seed
from schemas.request import MAX_SEED, GenerationRequest, parse_size
from schemas.states import TERMINAL, ImageState, JobState, job_state

SPEC = RenderSpec(
    model="starter",
    model_digest="a" * 64,
    prompt="a red mug",
    seed=7,
    width=128,
    height=128,
    steps=8,
    guidance=3.0,
    policy_digest="b" * 64,
)


@given(
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**48 - 1),
    st.binary(min_size=10, max_size=10),
    st.binary(min_size=10, max_size=10),
)
def test_ids_sort_by_time(earlier: int, later: int, one: bytes, other: bytes) -> None:
    """An id made in an earlier millisecond sorts before any of a later one, and both are well formed."""
    earlier, later = sorted((earlier, later))
    first, second = encode("img", uuid7(earlier, one)), encode("img", uuid7(later, other))

    assert is_id(first, "img")
    assert first[:12] <= second[:12]
    assert earlier == later or first < second


def test_ids_are_uuids_of_version_seven() -> None:
    """Version and variant bits are those of RFC 9562."""
    value = uuid7(1_700_000_000_000, b"\xff" * 10)

    assert 7 == (value >> 76) & 0xF
    assert 0b10 == (value >> 62) & 0b11
    assert 1_700_000_000_000 == value >> 80


def test_ids_of_a_process_sort_in_the_order_they_were_made() -> None:
    """Rows planned together keep the order of their manifest, also within one millisecond."""
    made = [new_id("job") for _ in range(5000)]

    assert made == sorted(made)
    assert len(made) == len(set(made))


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(max_size=8)
        | st.floats(allow_nan=False, allow_infinity=False),
        max_size=6,
    )
)
def test_a_digest_does_not_depend_on_key_order(value: dict[str, object]) -> None:
    """Canonical JSON: the same members in another order, or sent as JSON and back, give the same digest."""
    shuffled = dict(reversed(value.items()))

    assert digest(value) == digest(shuffled) == digest(json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue mug"},
        {"seed": 8},
        {"steps": 9},
        {"guidance": 2.5},
        {"width": 160},
        {"format": "webp"},
        {"quality": 80},
        {"model_digest": "c" * 64},
        {"policy_digest": "c" * 64},
        {"negative_prompt": "x"},
        {"image": "d" * 64},
        {"mask": "d" * 64},
        {"strength": 0.5},
        {"control": (UsedControl(kind="edges", image="d" * 64, weight=1.0),)},
        {"adapters": (UsedAdapter(name="acme", weight=0.8, digest="e" * 64),)},
    ],
)
def test_whatever_decides_the_pixels_changes_the_digest(change: dict[str, object]) -> None:
    """No field of the spec is left out of the render digest."""
    assert SPEC.digest != SPEC.model_copy(update=change).digest


def test_a_spec_that_was_planned_before_version_2_keeps_its_name() -> None:
    """Rows and receipts of version 1 are read, and their digest is the one that they were given."""
    fields = SPEC.model_dump(mode="json", exclude={"version", "image", "mask", "strength", "control"})
    old = RenderSpec.model_validate({"version": 1, **fields})

    assert digest({"version": 1, **fields}) == old.digest
    assert old.digest != SPEC.digest


def test_the_receipt_of_a_spec_can_name_every_picture() -> None:
    """Each picture that was brought stands under its field in the request."""
    lines = UsedControl(kind="sketch", image="f" * 64, weight=1.0)
    spec = SPEC.model_copy(update={"image": "d" * 64, "mask": "e" * 64, "control": (lines,)})

    assert {} == SPEC.inputs
    assert {"image": "d" * 64, "mask": "e" * 64, "control.0.image": "f" * 64} == spec.inputs


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "other"},
        {"seed": 8},
        {"guidance": 1.0},
        {"format": "jpeg"},
        {"image": "d" * 64, "strength": 0.5},
        {"adapters": (UsedAdapter(name="acme", weight=0.8, digest="e" * 64),)},
    ],
)
def test_prompt_seed_guidance_inputs_and_adapters_share_a_batch(change: dict[str, object]) -> None:
    """The batch key stays coarse, or batches would stay small."""
    assert SPEC.batch_key == SPEC.model_copy(update=change).batch_key


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 99))
def test_derived_seeds_are_stable_and_in_range(recipe: str, row: str, shot: int) -> None:
    """The same row gives the same seed in every process, and every JSON reader can hold it."""
    seed = derive_seed("acme", recipe, row, shot)

    assert 0 <= seed <= MAX_SEED
    assert seed == derive_seed("acme", recipe, row, shot)
    assert seed != derive_seed("acme", recipe, row, shot + 1)


@given(
    st.dictionaries(st.sampled_from(sorted(TERMINAL)), st.integers(0, 5)),
    st.integers(0, 5),
    st.integers(0, 3),
)
def test_a_job_ends_when_its_last_image_ends(
    counts: dict[ImageState, int], waiting: int, rejected: int
) -> None:
    """A job is open exactly while an image is, and completed only if every image was rendered and no row refused."""
    total = sum(counts.values()) + waiting
    state = job_state(total, counts, rejected)

    assert (waiting > 0) == (state in (JobState.QUEUED, JobState.RUNNING))
    if state is JobState.COMPLETED:
        assert counts.get(ImageState.RENDERED, 0) == total
        assert not rejected


@pytest.mark.parametrize(
    "text", ["128", "0x128", "128x", "63x128", "4097x128", "1e3x128", "128x128x1", "-1x5", " 128x128"]
)
def test_sizes_out_of_range_are_refused(text: str) -> None:
    """A size is two whole numbers within the limits, nothing else."""
    with pytest.raises(ValueError, match=r"size|pixels"):
        parse_size(text)


@pytest.mark.parametrize(
    ("body", "kind", "field", "limit"),
    [
        ({"prompt": "x" * 2001}, "out_of_range", "prompt", 2000),
        ({"prompt": ""}, "out_of_range", "prompt", 1),
        ({}, "missing_field", "prompt", None),
        ({"prompt": 5}, "wrong_type", "prompt", None),
        ({"prompt": "a", "colour": "red"}, "unknown_field", "colour", None),
        ({"prompt": "a", "n": 65}, "out_of_range", "n", 64),
        ({"prompt": "a", "size": "8x8"}, "out_of_range", "size.0", None),
        ({"prompt": "a", "guidance": float("nan")}, "out_of_range", "guidance", None),
        ({"prompt": "a", "lane": "fast"}, "out_of_range", "lane", "'interactive' or 'bulk'"),
        ({"prompt": "a", "finish_by": "2026-01-01T00:00:00"}, "out_of_range", "finish_by", None),
        ({"prompt": "a\x00b"}, "out_of_range", "prompt", None),
        ({"prompt": "a", "output": {"key": "../up.png"}}, "out_of_range", "output.key", None),
        ({"prompt": "a", "output": {"format": "png", "quality": 3}}, "out_of_range", "output", None),
    ],
)
def test_a_bad_request_names_field_and_limit(
    body: dict[str, object], kind: str, field: str, limit: object
) -> None:
    """Each refusal says which field, against which limit, and that the caller can repair it."""
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate(body)
    told = problem(from_validation(caught.value, row=3))

    assert (kind, field, limit, 3, "caller") == (told.code, told.field, told.limit, told.row, told.actor)
    assert 400 <= told.status < 500


def test_one_size_or_several() -> None:
    """`size` takes one size or a list of them."""
    assert ("128x128",) == GenerationRequest(prompt="a", size="128x128").size
    assert ("128x128", "160x96") == GenerationRequest(prompt="a", size=["128x128", "160x96"]).size


RECIPE = Recipe(
    name="shop",
    version=2,
    prompt="a {colour} {product}, {extra}",
    alt="{product} in {colour}",
    row_key="product",
    slots={
        "colour": Slot(choices=("red", "blue")),
        "product": Slot(max_chars=10),
        "extra": Slot(required=False),
    },
)


def test_an_empty_slot_leaves_no_trace() -> None:
    """Optional slots disappear from the sentence with their comma."""
    assert "a red mug" == substitute(RECIPE.prompt, RECIPE.fill({"colour": "red", "product": "mug"}))


@pytest.mark.parametrize(
    ("values", "error", "field"),
    [
        ({"product": "mug"}, MissingField, "colour"),
        ({"colour": "mauve", "product": "mug"}, OutOfRange, "colour"),
        ({"colour": "red", "product": "m" * 11}, OutOfRange, "product"),
        ({"colour": "red", "product": "mug", "shape": "x"}, UnknownField, "shape"),
    ],
)
def test_slots_are_checked_by_name(values: dict[str, str], error: type[BadInput], field: str) -> None:
    """A slot that is missing, unknown, too long or not a choice is refused by name."""
    with pytest.raises(error) as caught:
        RECIPE.fill(values)

    assert field == caught.value.field


@given(st.text(max_size=30))
def test_slot_values_are_never_templates(value: str) -> None:
    """Braces in a customer's value are text; they can not reach another slot."""
    filled = substitute("{a} {b}", {"a": value, "b": "secret"})

    assert filled.count("secret") == 1 + value.count("secret")


@pytest.mark.parametrize("template", ["{unknown}", "{colour", "{colour!r}", "{colour.x}", "{{colour}}"])
def test_a_recipe_with_a_bad_template_is_refused(template: str) -> None:
    """Templates know slots and nothing of Python's formatting."""
    with pytest.raises(ValidationError):
        Recipe(name="r", version=1, prompt=template, slots={"colour": Slot()})


def test_events_keep_trace_context_and_refuse_bad_names() -> None:
    """Extension attributes survive; a malformed traceparent is not passed on."""
    base = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "x"}
    good = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

    assert good == CloudEvent.model_validate(base | {"traceparent": good}).traceparent
    assert None is CloudEvent.model_validate(base | {"traceparent": "nonsense"}).traceparent
    for wrong in (
        {"Bad-Name": 1},
        {"specversion": "0.3"},
        {"time": "2026-01-01T00:00:00"},
        {"data_base64": "AA=="},
        {"id": ""},
    ):
        with pytest.raises(ValidationError):
            CloudEvent.model_validate(base | wrong)


def all_errors(kind: type[AquatintError] = AquatintError) -> list[type[AquatintError]]:
    return [
        kind,
        *(
            found
            for child in kind.__subclasses__()
            if child.__module__ == "schemas.errors"
            for found in all_errors(child)
        ),
    ]


def test_every_error_has_its_own_code_and_sentence() -> None:
    """Codes are unique, each class's first line is its default message, and the drawn tree names all of them."""
    import schemas.errors

    kinds = all_errors()
    codes = [kind.code for kind in kinds]

    assert len(codes) == len(set(codes))
    assert all(
        kind.__name__ in (schemas.errors.__doc__ or "") and kind().detail.endswith(".") for kind in kinds
    )

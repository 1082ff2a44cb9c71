"""Reading manifests: every way they can be wrong has a typed error with its row, and never takes the neighbours."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.manifest import (
    MAX_CELL_CHARS,
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    BadRow,
    Row,
    format_of,
    read_manifest,
)
from handlers.recipes import from_cells, from_invocation, nested
from schemas.errors import BadInput, BadManifest, MissingField, NotFound, OutOfRange, UnknownField, WrongType
from schemas.recipe import Recipe
from schemas.request import Adapter, GenerationRequest, RecipeInvocation

RECIPE = Recipe.model_validate(
    {
        "version": 2,
        "name": "shop",
        "prompt": "a {colour} {product} on a {background} background",
        "alt": "{product} in {colour}",
        "key": "shop/{sku}/{size}-{shot}.png",
        "row_key": "sku",
        "slots": {
            "sku": {"max_chars": 20},
            "product": {},
            "colour": {"choices": ["red", "blue"]},
            "background": {"required": False, "default": "white"},
        },
    }
)
HEADER = "sku,product,colour,sizes,count\n"


def _read(data: bytes | str, recipe: Recipe | None = RECIPE, format: str = "csv") -> list[Row | BadRow]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_manifest(io.BytesIO(raw), format, recipe))  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_spreadsheets_of_the_world(prefix: bytes, mark: str) -> None:
    """Byte order mark or none; commas, semicolons or tabs; quoted cells with line breaks; blank lines are skipped."""
    text = (
        mark.join(["sku", "product", "colour"])
        + "\r\n"
        + mark.join(["1", '"käffee\nbecher"', "red"])
        + "\r\n\r\n"
    )
    rows = _read(prefix + text.encode() + mark.join(["2", "mug", "blue"]).encode())

    assert [row.number for row in rows] == [1, 3]
    assert isinstance(rows[0], Row)
    assert rows[0].cells == {"sku": "1", "product": "käffee\nbecher", "colour": "red"}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", None),
        (HEADER, None),
        (HEADER + "\n , ,,,\n", None),
        ("\n1,mug,red\n", "header"),
        (",,\n1,2,3\n", "header"),
        ("sku,product,product,colour\n", "product"),
        ("sku,product,colour,price\n1,mug,red,5\n", "price"),
        ("sku,colour\n1,red\n", "product"),
        ("sku,product,colour,n,count\n1,mug,red,1,1\n", "header"),
        (",".join(f"c{place}" for place in range(MAX_COLUMNS + 1)) + "\n", "header"),
        ('sku,"product,colour\n', "header"),
        ("sku,product,colour\n1,mug,red".encode("utf-16"), "encoding"),
        ("sku,product,colour\n1,mug,red".encode("utf-16-le"), "header"),
        ("sku,product,colour\n1,käffee,red".encode("latin-1"), "encoding"),
        (HEADER + "x" * (MAX_LINE_BYTES + 1), None),
    ],
)
def test_a_manifest_that_cannot_be_read(data: bytes | str, field: str | None) -> None:
    """Empty, without rows or header, columns doubled, unknown or missing, wrong encoding, endless lines: BadManifest."""
    with pytest.raises(BadManifest) as refused:
        _read(data)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("2,mug", WrongType),
        ("2,mug,red,128x128,1,extra", WrongType),
        (f"2,{'x' * (MAX_CELL_CHARS + 1)},red,128x128,1", OutOfRange),
        ("2,mug\x00,red,128x128,1", BadInput),
        ('2,mug "quoted" badly,"red"x,128x128,1', BadManifest),
    ],
)
def test_a_bad_row_leaves_its_neighbours_alone(row: str, error: type[BadInput]) -> None:
    """Too few or many cells, a huge cell, a NUL, broken quotes: an error with the row, before and after it good rows."""
    rows = _read(f"{HEADER}1,mug,red,128x128,1\n{row}\n3,cup,blue,128x128,1\n")

    assert [row.number for row in rows] == [1, 2, 3]
    assert isinstance(rows[0], Row) and isinstance(rows[2], Row)
    assert isinstance(rows[1], BadRow) and isinstance(rows[1].error, error)
    assert rows[1].error.row == 2


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', '{"prompt": NaN}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_bad_line_of_json(line: str) -> None:
    """What is not one JSON object is an error of its line alone."""
    rows = _read(f'{{"prompt": "a"}}\n{line}\n\n{{"prompt": "b"}}\n', None, "jsonl")

    assert [(type(row), row.number) for row in rows] == [(Row, 1), (BadRow, 2), (Row, 4)]


@given(st.binary(max_size=400))
def test_any_bytes_give_rows_or_a_typed_error(data: bytes) -> None:
    """Whatever is uploaded, reading it ends in rows, row errors or BadManifest, and in nothing else."""
    for format, prefix in (("csv", b"prompt\n"), ("csv", b""), ("jsonl", b"")):
        try:
            for row in _read(prefix + data, None, format):
                assert isinstance(row, Row) or row.error.row == row.number
        except BadManifest:
            pass


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["prompt", "seed"]), st.text(max_size=20), min_size=1), min_size=1
    )
)
def test_json_lines_come_back_as_they_were(objects: list[dict[str, str]]) -> None:
    """Every object of a well-formed JSONL manifest is one row, in order."""
    rows = _read("".join(json.dumps(one) + "\n" for one in objects), None, "jsonl")

    assert [row.cells for row in rows if isinstance(row, Row)] == objects


@pytest.mark.parametrize(
    ("key", "format"), [("a.csv", "csv"), ("B.JSONL", "jsonl"), ("x.ndjson", "jsonl"), ("t.tsv", "csv")]
)
def test_the_form_is_in_the_name(key: str, format: str) -> None:
    """The end of the key says what a manifest is."""
    assert format_of(key) == format
    with pytest.raises(BadManifest):
        format_of("picture.png")


CELLS = {
    "sku": "A-1",
    "product": "mug",
    "colour": "red",
    "sizes": "128x128; 160x96",
    "count": "3",
    "seed": "7",
}


def test_a_row_becomes_a_request() -> None:
    """Slots fill prompt, alt text and key; sizes, count and seed steer; the row is called by its SKU."""
    made = from_cells(RECIPE, CELLS, None, row=1)

    assert made.request.prompt == "a red mug on a white background"
    assert made.request.size == ("128x128", "160x96")
    assert (made.request.n, made.request.seed, made.request.lane) == (3, 7, "bulk")
    assert made.request.output.key == "shop/A-1/{size}-{shot}.png"
    assert (made.recipe, made.row_key) == ("shop@2", "A-1")
    assert made.words is not None
    assert made.words.alts == {"en": "mug in red"}


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"colour": "green"}, OutOfRange, "colour"),
        ({"product": " "}, MissingField, "product"),
        ({"sku": "x" * 21}, OutOfRange, "sku"),
        ({"count": "many"}, WrongType, "count"),
        ({"count": "1000"}, OutOfRange, "n"),
        ({"sizes": "big"}, OutOfRange, "size.0"),
        ({"weather": "fine"}, UnknownField, "weather"),
    ],
)
def test_a_wrong_cell_names_field_and_row(change: dict[str, str], error: type[BadInput], field: str) -> None:
    """Each fault of a row is typed and placed."""
    with pytest.raises(error) as refused:
        from_cells(RECIPE, {**CELLS, **change}, None, row=12)

    assert (refused.value.row, refused.value.field) == (12, field)


@pytest.mark.parametrize("sku", ["../../etc", "a/b", "..", "ä ö", "\\x"])
def test_a_slot_cannot_climb_out_of_its_folder(sku: str) -> None:
    """Whatever a cell holds, the key stays one level deep where the recipe put it."""
    key = from_cells(RECIPE, {**CELLS, "sku": sku}, None, row=1).request.output.key

    assert key is not None
    folder, name, rest = key.split("/")
    assert (folder, rest) == ("shop", "{size}-{shot}.png")
    assert name not in ("", ".", "..")


class _Book:
    def get(self, reference: str) -> Recipe:
        if reference.partition("@")[0] != RECIPE.name:
            raise NotFound(f"there is no recipe {reference!r}", field="recipe")
        return RECIPE


def test_an_invocation_becomes_a_request() -> None:
    """An event with slots is the same request as a row, in the lane it asks for."""
    slots: dict[str, Any] = {"sku": "A", "product": "mug", "colour": "blue"}
    made = from_invocation(_Book(), RecipeInvocation(recipe="shop", slots=slots))

    assert (made.request.lane, made.recipe) == ("interactive", "shop@2")
    with pytest.raises(NotFound):
        from_invocation(_Book(), RecipeInvocation(recipe="nothing", slots=slots))
    with pytest.raises(UnknownField):
        from_invocation(_Book(), RecipeInvocation(recipe="shop", slots={**slots, "count": "2"}))


PICTURES = {
    "image": "uploads/A-1.jpg",
    "mask": "uploads/A-1-mask.png",
    "strength": "0.7",
    "control_kind": "edges",
    "control_image": "uploads/A-1.jpg",
    "control_weight": "0.5",
    "adapters": "acme:0.8; other ;third:-1",
}


@pytest.mark.parametrize("recipe", [RECIPE, None])
def test_a_row_brings_pictures_and_adapters(recipe: Recipe | None) -> None:
    """The columns are those of the request, with control and adapters laid flat; empty cells mean none."""
    cells = {**(CELLS if recipe else {"prompt": "a red mug"}), **PICTURES}
    request = from_cells(recipe, cells, None, row=1).request

    assert (request.image, request.mask, request.strength) == ("uploads/A-1.jpg", "uploads/A-1-mask.png", 0.7)
    assert [(one.kind, one.image, one.weight) for one in request.control] == [
        ("edges", "uploads/A-1.jpg", 0.5)
    ]
    assert [(one.name, one.weight) for one in request.adapters] == [
        ("acme", 0.8),
        ("other", 1.0),
        ("third", -1.0),
    ]
    empty = from_cells(recipe, {**cells, **dict.fromkeys(PICTURES, " ")}, None, row=1).request
    assert (empty.image, empty.mask, empty.strength, empty.control, empty.adapters) == (
        None,
        None,
        None,
        (),
        (),
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image": "ftp://shop.example/a.jpg"}, "image"),
        ({"image": ""}, "image"),
        ({"strength": "much"}, "strength"),
        ({"control_kind": ""}, "control_kind"),
        ({"control_kind": "depth"}, "control_kind"),
        ({"control_image": "a.jpg"}, "control_image"),
        ({"control_image": ""}, "control_image"),
        ({"control_weight": "3"}, "control_weight"),
        ({"adapters": "acme:lots"}, "adapters"),
        ({"adapters": "acme;acme"}, "adapters"),
        ({"adapters": "../acme"}, "adapters"),
    ],
)
def test_a_wrong_picture_cell_names_its_column(change: dict[str, str], field: str) -> None:
    """The customer reads the name of a column, not of a place inside our request."""
    with pytest.raises(BadInput) as refused:
        from_cells(RECIPE, {**CELLS, **PICTURES, **change}, None, row=4)

    assert (refused.value.row, refused.value.field) == (4, field)


def test_lines_in_our_own_form_may_be_flat_or_nested() -> None:
    """JSONL takes the request as it is, and the columns of a table as well, but not both at once."""
    nested_form = {
        "prompt": "a",
        "control": [{"kind": "edges", "image": "uploads/a"}],
        "adapters": [{"name": "acme"}],
    }
    flat = {"prompt": "a", "control_kind": "edges", "control_image": "uploads/a", "adapters": "acme"}

    assert nested(nested_form) == nested_form
    assert GenerationRequest.model_validate(nested(flat)) == GenerationRequest.model_validate(nested_form)
    with pytest.raises(UnknownField):
        nested({**nested_form, "control_kind": "edges"})


def test_a_recipe_may_bring_its_brand() -> None:
    """Adapters of a recipe go onto every picture, unless the row names its own."""
    branded = RECIPE.model_copy(update={"adapters": (Adapter(name="acme", weight=0.8),)})

    assert from_cells(branded, CELLS, None, row=1).request.adapters == branded.adapters
    own = from_cells(branded, {**CELLS, "adapters": "other"}, None, row=1).request.adapters
    assert [one.name for one in own] == ["other"]

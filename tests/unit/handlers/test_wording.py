"""What is said of pictures comes from recipe, sender and prompt, in that order of care."""

from __future__ import annotations

from dataclasses import replace

import pytest
from control_plane import a_planner
from pydantic import ValidationError

from handlers.planner import Origin, Plan, Planner
from handlers.recipes import from_cells
from handlers.wording import DESCRIPTIONS, with_duplicates
from safety.descriptions import describe
from schemas.description import Description
from schemas.errors import BadInput, PromptRefused
from schemas.recipe import Recipe
from schemas.request import GenerationRequest
from schemas.states import ImageState
from schemas.webhook import ImageSummary

RECIPE = Recipe.model_validate(
    {
        "name": "shop",
        "version": 1,
        "prompt": "a {colour} {product}",
        "alt": "{product} in {colour}, {title}",
        "lang": "en",
        "languages": ["en", "de"],
        "row_key": "sku",
        "slots": {"sku": {}, "product": {}, "colour": {}, "title": {"required": False}},
    }
)
ROW = {"sku": "A-1", "product": "mug", "colour": "red"}


def planner() -> Planner:
    return replace(a_planner(), describe=describe)


def shape(cells: dict[str, str], recipe: Recipe | None = RECIPE) -> Plan:
    made = from_cells(recipe, cells, None, row=1)
    origin = Origin(tenant="acme", batch="bat_1", row=1, words=made.words, row_key=made.row_key)
    return planner().shape(made.request, origin, 1000.0)


def said(plan: Plan) -> list[Description]:
    return list(DESCRIPTIONS.validate_json(plan.images[0].descriptions))


def test_a_row_is_described_in_the_recipes_languages() -> None:
    """The recipe's sentence in its own language, built ones in the others; the first is the image's alt text."""
    made = shape(ROW)

    assert [(one.lang, one.alt) for one in said(made)] == [("en", "Mug in red"), ("de", "Tasse in Rot")]
    assert (made.images[0].alt, made.images[0].lang) == ("Mug in red", "en")


def test_a_row_may_name_its_languages() -> None:
    """A column of languages goes before the recipe's, and the first of them is the main one."""
    made = shape({**ROW, "languages": "fr; en"})

    assert [one.lang for one in said(made)] == ["fr", "en"]
    assert made.images[0].lang == "fr"


def test_a_decorative_row_has_no_alt_text() -> None:
    """A column says so."""
    made = shape({**ROW, "decorative": "true"})

    assert [(one.role, one.alt) for one in said(made)] == [("decorative", "")] * 2


def test_a_slot_that_no_prompt_holds_is_screened() -> None:
    """A title that only stands in the alt text passes the prompt screen, as it is published with the picture."""
    with pytest.raises(PromptRefused) as refused:
        shape({**ROW, "title": "something forbidden"})
    assert refused.value.field == "output.alt"


def test_a_senders_alt_text_is_screened_and_kept() -> None:
    """By HTTP in any language, in a table in its first one."""
    request = GenerationRequest.model_validate({"prompt": "a mug", "output": {"alt": {"de": "Mein Becher"}}})
    made = planner().shape(request, Origin(tenant="acme"), 1000.0)
    row = shape({"prompt": "a mug", "alt": "my own mug", "languages": "de"}, recipe=None)

    assert [(one.lang, one.alt, one.source) for one in said(made)] == [("de", "Mein Becher", "sender")]
    assert [(one.lang, one.alt) for one in said(row)] == [("de", "My own mug")]
    bad = GenerationRequest.model_validate({"prompt": "a mug", "output": {"alt": {"de": "forbidden"}}})
    with pytest.raises(PromptRefused):
        planner().shape(bad, Origin(tenant="acme"), 1000.0)


@pytest.mark.parametrize(
    "output",
    [{"languages": ["klingon!"]}, {"alt": {"de": "x" * 251}}, {"alt": {"de": ""}}, {"languages": ["en"] * 9}],
)
def test_words_that_cannot_be_kept_are_refused(output: dict[str, object]) -> None:
    """Languages are tags, and alt texts have a length that somebody listens to."""
    with pytest.raises(ValidationError):
        GenerationRequest.model_validate({"prompt": "a mug", "output": output})


def test_a_long_alt_cell_names_its_column() -> None:
    """The customer reads the name of the column."""
    with pytest.raises(BadInput) as refused:
        from_cells(None, {"prompt": "a mug", "alt": "x" * 300}, None, row=7)
    assert (refused.value.field, refused.value.row) == ("alt", 7)


def test_a_recipe_declares_what_its_sentences_use() -> None:
    """A sentence in any language may only use the recipe's slots."""
    with pytest.raises(ValidationError):
        Recipe.model_validate({**RECIPE.model_dump(), "alts": {"de": "{produkt}"}})


def test_two_products_with_one_text_are_marked() -> None:
    """Whoever reads the results sees which alt texts tell nobody what sets a product apart."""
    summary = ImageSummary(
        id="img_1",
        state=ImageState.RENDERED,
        digest="d",
        width=1,
        height=1,
        alt="Mug",
        descriptions=(Description(lang="en", alt="Mug"),),
    )
    marked = with_duplicates(summary, {"Mug"})

    assert (marked.descriptions[0].faults, marked.descriptions[0].needs_review) == (("alt.duplicate",), True)
    assert with_duplicates(summary, {"Hat"}) == summary

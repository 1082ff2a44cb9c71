"""Alt texts and long descriptions from the plan's slots, in five languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import Vocabulary
from models.catalogue.world import BACKGROUNDS, COLOURS, KINDS, LAYOUTS, LIGHTS, MATERIALS
from safety.alt_text import EMPTY, REDUNDANT_OPENING, lint_alt
from safety.description_words import all_words
from safety.descriptions import UNTRANSLATED, describe, duplicates, is_empty
from safety.prompt_reading import PromptReader
from schemas.description import MAX_ALT_CHARS, TARGET_ALT_CHARS, Description, DescriptionPlan

LANGUAGES = ("en", "de", "fr", "es", "it")
MUG = {"product": "mug", "colour": "red", "material": "matte", "background": "white", "layout": "on the left"}


def said(plan: DescriptionPlan) -> dict[str, Description]:
    return {one.lang: one for one in describe(plan)}


def test_one_plan_is_said_in_five_languages() -> None:
    """Colour, finish, background and place are translated, and each sentence is one that people write."""
    found = said(DescriptionPlan(prompt="masterpiece, red mug, 8k", languages=LANGUAGES, slots=MUG))

    assert {lang: one.alt for lang, one in found.items()} == {
        "en": "Mug in red, matte finish, on a white background, on the left",
        "de": "Tasse in Rot, matte Oberfläche, vor weißem Hintergrund, links im Bild",
        "fr": "Tasse de couleur rouge, finition mate, sur fond blanc, à gauche",
        "es": "Taza de color rojo, acabado mate, sobre fondo blanco, a la izquierda",
        "it": "Tazza di colore rosso, finitura opaca, su sfondo bianco, a sinistra",
    }
    assert all(one.source == "plan" and not one.needs_review for one in found.values())


def test_a_long_description_says_where_it_stands_and_how_it_was_made() -> None:
    """Surroundings have a sentence of their own, and the disclosure is part of what a screen reader reads."""
    found = said(DescriptionPlan(prompt="x", languages=("en", "de"), slots=MUG))

    assert (
        found["en"].long_description
        == "Mug in red, matte finish. Setting: on a white background, on the left. Made with AI."
    )
    assert found["de"].long_description.endswith(
        "Umgebung: vor weißem Hintergrund, links im Bild. Mit KI erzeugt."
    )


def test_two_products_are_said_as_two() -> None:
    """A pair has its plural in every language."""
    slots = {**MUG, "product": "headphones", "layout": "pair"}
    found = said(DescriptionPlan(prompt="x", languages=LANGUAGES, slots=slots))

    assert [found[lang].alt.split(",")[0] for lang in LANGUAGES] == [
        "Two pairs of headphones in red",
        "Zwei Kopfhörer in Rot",
        "Deux casques audio de couleur rouge",
        "Dos pares de auriculares de color rojo",
        "Due paia di cuffie di colore rosso",
    ]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_whole_vocabulary_is_translated(lang: str) -> None:
    """Every word of the shipped world has its phrase, none is said like another, and every name has a plural."""
    words = all_words()[lang]
    tables = {
        "colour": COLOURS,
        "material": MATERIALS,
        "background": BACKGROUNDS,
        "layout": LAYOUTS,
        "light": LIGHTS,
    }
    for part, names in tables.items():
        assert set(words.phrases[part]) == set(names)
        assert len(set(words.phrases[part].values())) == len(set(names))
    assert set(words.one) == set(words.two) == set(KINDS)


def test_what_is_unknown_stays_and_is_looked_at() -> None:
    """A value without translation is kept behind its label, and a person is asked to look; its own language is in order."""
    slots = {"product": "Canary kettle", "colour": "chartreuse"}
    found = said(DescriptionPlan(prompt="x", languages=("en", "de", "fr-CA"), slots=slots))

    assert (found["en"].alt, found["en"].needs_review) == ("Canary kettle, colour chartreuse", False)
    assert found["de"].alt == "Canary kettle, Farbe: chartreuse"
    assert found["fr-CA"].alt == "Canary kettle, couleur : chartreuse"
    assert found["de"].faults == (UNTRANSLATED,) and found["de"].needs_review


def test_synonyms_are_translated() -> None:
    """What the model takes for a mug and for red is called so in other languages; one's own words stay."""
    slots = {"product": "coffee cup", "colour": "scarlet"}
    found = said(DescriptionPlan(prompt="x", languages=("en", "de"), slots=slots))

    assert (found["en"].alt, found["de"].alt) == ("Coffee cup, colour scarlet", "Tasse in Rot")


def test_a_recipes_own_sentence_goes_first_and_the_senders_before_it() -> None:
    """Templates stand for their language alone; what the sender wrote replaces them."""
    plan = DescriptionPlan(
        prompt="x", languages=("en", "de"), slots=MUG, alts={"de": "ein Becher"}, given={"en": "my mug"}
    )
    found = said(plan)

    assert (found["en"].alt, found["en"].source) == ("My mug", "sender")
    assert (found["de"].alt, found["de"].source) == ("Ein Becher", "plan")


def test_a_decorative_picture_is_passed_over() -> None:
    """Its alt text is empty on purpose: no fault, nothing to review."""
    (found,) = describe(DescriptionPlan(prompt="a red mug", role="decorative"))

    assert (found.alt, found.long_description, found.faults, found.needs_review) == ("", "", (), False)
    assert not is_empty(found)


def test_a_language_nobody_speaks_here_is_left_empty() -> None:
    """Wrong words would be worse than none: it is empty, and marked."""
    found = said(DescriptionPlan(prompt="a red mug", languages=("en", "ja"), slots=MUG))

    assert found["ja"].alt == ""
    assert set(found["ja"].faults) == {EMPTY, UNTRANSLATED}
    assert found["ja"].needs_review and is_empty(found["ja"])


def test_a_plain_prompt_speaks_one_language() -> None:
    """Only the main language gets the prompt's words; the language is told by them where it is not named."""
    found = describe(DescriptionPlan(prompt="ein roter Becher, 8k"), detect=lambda _prompt: "de")
    several = said(DescriptionPlan(prompt="a lighthouse at dusk", languages=("en", "fr")))

    assert (found[0].lang, found[0].alt, found[0].source) == ("de", "Ein roter Becher", "prompt")
    assert (several["en"].alt, several["fr"].alt) == ("A lighthouse at dusk", "")


@given(
    slots=st.dictionaries(
        st.sampled_from(["product", "colour", "material", "background", "layout", "text", "light", "sku"]),
        st.text(max_size=200),
    ),
    prompt=st.text(max_size=400),
)
def test_no_slots_can_break_the_sentences(slots: dict[str, str], prompt: str) -> None:
    """Whatever a row holds, each text stays within its limit."""
    for one in describe(DescriptionPlan(prompt=prompt, languages=LANGUAGES, slots=slots)):
        assert len(one.alt) <= MAX_ALT_CHARS
        assert bool(one.faults) or one.alt


@given(
    st.sampled_from(KINDS),
    st.sampled_from(sorted(COLOURS)),
    st.sampled_from(MATERIALS),
    st.sampled_from(sorted(BACKGROUNDS)),
    st.sampled_from(sorted(LAYOUTS)),
)
def test_every_scene_passes_the_linter(
    kind: str, colour: str, material: str, background: str, layout: str
) -> None:
    """Whatever the starter can draw has an alt text without fault in every language, at most as long as the target."""
    slots = {
        "product": kind,
        "colour": colour,
        "material": material,
        "background": background,
        "layout": layout,
    }
    for one in describe(DescriptionPlan(prompt="x", languages=LANGUAGES, slots=slots)):
        assert (one.faults, len(one.alt) <= TARGET_ALT_CHARS) == ((), True)


@pytest.mark.parametrize(
    ("lang", "alt"),
    [
        ("de", "Bild von einer Tasse"),
        ("de", "Ein Foto der Tasse"),
        ("fr", "Image d’une tasse"),
        ("fr", "une photo de tasse"),
        ("es", "Imagen de una taza"),
        ("it", "Un'immagine di una tazza"),
    ],
)
def test_redundant_openings_are_found_in_each_language(lang: str, alt: str) -> None:
    """A screen reader has said already that it is a picture."""
    assert REDUNDANT_OPENING in lint_alt(alt, lang)


def test_duplicates_are_those_of_different_things() -> None:
    """Two products with one alt text cannot be told apart; three views of one product may share it."""
    assert duplicates([("a", "Mug"), ("b", "Mug"), ("c", "Hat"), ("c", "Hat"), ("d", ""), ("e", "")]) == {
        "Mug"
    }


WORLD = Vocabulary(
    kinds=("mug", "lamp"),
    colours=("red", "blue", "white"),
    materials=("matte",),
    backgrounds=("white", "sky blue", "garden"),
    layouts=("on the left",),
    synonyms={"cup": "mug", "light blue": "sky blue"},
)


@pytest.mark.parametrize(
    ("prompt", "slots"),
    [
        ("a red cup on a white background", {"product": "mug", "colour": "red", "background": "white"}),
        (
            "matte blue lamp on the left, light blue backdrop",
            {
                "product": "lamp",
                "colour": "blue",
                "material": "matte",
                "background": "sky blue",
                "layout": "on the left",
            },
        ),
        ("a lamp in a garden", {"product": "lamp", "background": "garden"}),
        ("a red mug beside a blue lamp", {}),
        ("a red mug with blue dots", {}),
        ("a mug, not red", {}),
        ("a red unicorn", {}),
        ("", {}),
    ],
)
def test_a_prompt_of_the_closed_world_is_read(prompt: str, slots: dict[str, str]) -> None:
    """What the model will draw is read from the prompt, and nothing at all when two readings are possible."""
    assert PromptReader(WORLD)(prompt) == slots

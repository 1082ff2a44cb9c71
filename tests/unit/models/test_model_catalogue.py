"""The closed world: its words, its captions, and what is never shown in training."""

import re
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue.captions import (
    FILLER,
    LONGEST,
    SYNONYMS,
    caption,
    plain_caption,
    sentence_skeleton,
    training_scene,
    unambiguous_synonyms,
    vocabulary_words,
    words_of,
)
from models.catalogue.product_phrases import DENIALS, plural_of
from models.catalogue.wordings import (
    BACKDROP_PHRASES,
    BACKDROP_WORDS,
    COLOUR_WORDS,
    FINISH_WORDS,
    KIND_WORDS,
    LAYOUT_PHRASES,
    LIGHT_PHRASES,
    MATERIAL_WORDS,
    PAIR_LATER,
    PLACE_ADJECTIVES,
    SCENE_PHRASES,
    SCENE_WORDS,
    SHADOW_PHRASES,
    STUFF_WORDS,
    VIEWS,
    Phrases,
)
from models.catalogue.world import (
    BACKGROUNDS,
    COLOURS,
    DEFAULT_BACKGROUND,
    DEFAULT_LAYOUT,
    DEFAULT_LIGHT,
    DEFAULT_MATERIAL,
    KINDS,
    LAYOUTS,
    LIGHTS,
    MATERIALS,
    SCENES,
    Scene,
    held_out_pairs,
    is_held_out,
    sample_scene,
)
from models.evaluation.prompts import handwritten_prompts

ALL_SCENES = st.builds(
    Scene,
    kind=st.sampled_from(KINDS),
    colour=st.sampled_from(sorted(COLOURS)),
    material=st.sampled_from(MATERIALS),
    background=st.sampled_from(sorted(BACKGROUNDS)),
    layout=st.sampled_from(sorted(LAYOUTS)),
    light=st.sampled_from(LIGHTS),
    shadow=st.booleans(),
)
SEEDS = st.integers(0, 2**32)
TABLES = {
    "kind": KINDS,
    "colour": COLOURS,
    "material": MATERIALS,
    "background": BACKGROUNDS,
    "layout": LAYOUTS,
}
_SUBJECT = r"(?:it|they|them|the [\w\s-]+?)"


def spoken(scene: Scene, seed: int) -> str:
    """A caption as the tokenizer sees it, unknown words taken out again, and "an" as "a"."""
    words = [word for word in words_of(caption(scene, Random(seed))) if word != FILLER]
    return " ".join("a" if word == "an" else word for word in words)


def is_said(wordings: Iterable[str], text: str, word: str = "[a-z0-9-][a-z0-9 -]*?") -> bool:
    """Whether one of the wordings, with its slots filled in any way, stands in the text."""
    return any(re.search(rf"(?<![\w-]){_pattern(wording, word)}(?![\w-])", text) for wording in wordings)


def _pattern(wording: str, word: str) -> str:
    words = words_of(re.sub(r"\{(\w+)\}", r"slot\1slot", wording))
    plain = re.escape(" ".join("a" if part == "an" else part for part in words))
    plain = (
        plain.replace("slotitslot", _SUBJECT).replace("slotisslot", "(?:is|are)").replace("slotxslot", word)
    )
    return re.sub(r"slot(\w+?)sslot", r"\1s?", plain).replace(r"\ ", r"\s")


def all_of(phrases: Phrases) -> list[str]:
    """The wordings of a statement in all forms."""
    return [*phrases.after, *phrases.named, *phrases.sentence]


def test_the_world_is_as_large_as_promised() -> None:
    """At least 20 kinds, 12 colours, 6 materials, 10 backgrounds, left, right, close-up, small, from above and pair, and light from three sides."""
    assert len(KINDS) >= 20
    assert len(COLOURS) >= 12
    assert len(MATERIALS) >= 6
    assert len(BACKGROUNDS) >= 10
    assert {"on the left", "on the right", "close-up", "small", "from above", "pair"} <= set(LAYOUTS)
    assert len(LIGHTS) >= 3


def test_held_out_pairs_touch_every_kind_and_colour() -> None:
    """Each kind and each colour has an unseen partner, and a tenth of all pairs is unseen."""
    pairs = held_out_pairs()

    assert set(KINDS) == {kind for kind, _ in pairs}
    assert set(COLOURS) == {colour for _, colour in pairs}
    assert 0.08 <= len(pairs) / (len(KINDS) * len(COLOURS)) <= 0.12


@given(SEEDS)
@settings(deadline=None, max_examples=50)
def test_held_out_pairs_are_never_trained_on(seed: int) -> None:
    """No draw of a training scene gives a held-out pair, and every draw of a held-out scene does."""
    rng = Random(seed)

    for _ in range(20):
        scene, unseen = training_scene(rng), sample_scene(rng, held_out=True)
        assert not is_held_out(scene.kind, scene.colour)
        assert is_held_out(unseen.kind, unseen.colour)


@given(ALL_SCENES, SEEDS)
@settings(deadline=None)
def test_a_caption_is_decided_by_its_draw(scene: Scene, seed: int) -> None:
    """The same scene and seed are said in the same words."""
    assert caption(scene, Random(seed)) == caption(scene, Random(seed))


@given(ALL_SCENES, SEEDS)
@settings(deadline=None, max_examples=300)
def test_captions_stay_in_the_vocabulary_and_in_length(scene: Scene, seed: int) -> None:
    """Every word but the filler is known, and a caption with its end mark fits into 48 tokens."""
    words = words_of(caption(scene, Random(seed)))

    assert FILLER not in vocabulary_words()
    assert {word for word in words if word != FILLER} <= set(vocabulary_words())
    assert len(words) <= LONGEST < 48


@given(ALL_SCENES, SEEDS)
@settings(deadline=None, max_examples=300)
def test_a_caption_names_its_product(scene: Scene, seed: int) -> None:
    """Kind and colour are always said, in one of their own words."""
    text = f" {spoken(scene, seed)} "

    assert any(f" {word} " in text for noun in KIND_WORDS[scene.kind] for word in (noun, plural_of(noun)))
    assert any(f" {word} " in text for word in COLOUR_WORDS[scene.colour])


@given(ALL_SCENES, SEEDS)
@settings(deadline=None, max_examples=300)
def test_what_is_not_the_default_is_said(scene: Scene, seed: int) -> None:
    """Material, background, layout, light and shadow are read back from the words wherever they are not the default."""
    text = spoken(scene, seed)

    if scene.material != DEFAULT_MATERIAL:
        tables = (MATERIAL_WORDS, STUFF_WORDS, FINISH_WORDS)
        assert is_said([w for table in tables for w in table.get(scene.material, ())], text)
    if scene.background in SCENES:
        words = "|".join(re.escape(word).replace(r"\ ", r"\s") for word in SCENE_WORDS[scene.background])
        usual = [plain_caption(scene).split(" on ")[-1], "in a garden", "at sunset"]
        assert is_said([*all_of(SCENE_PHRASES[scene.background]), *usual], text, f"(?:{words})")
    elif scene.background != DEFAULT_BACKGROUND:
        words = "|".join(re.escape(word).replace(r"\ ", r"\s") for word in BACKDROP_WORDS[scene.background])
        assert is_said(all_of(BACKDROP_PHRASES), text, f"(?:{words})")
    if scene.layout not in (DEFAULT_LAYOUT, "pair"):
        adjectives = [*VIEWS.get(scene.layout, ()), *PLACE_ADJECTIVES.get(scene.layout, ())]
        assert is_said([*all_of(LAYOUT_PHRASES[scene.layout]), *adjectives], text)
    if scene.light != DEFAULT_LIGHT:
        assert is_said(all_of(LIGHT_PHRASES[scene.light]), text)
    if not scene.shadow:
        assert is_said(all_of(SHADOW_PHRASES[False]), text)


@given(ALL_SCENES, SEEDS)
@settings(deadline=None, max_examples=300)
def test_numbers_say_what_is_true(scene: Scene, seed: int) -> None:
    """Two products are said to be two or stand in the plural, one product never is."""
    text = spoken(scene, seed)
    two = re.search(r"(?<![\w-])(two|2|2x|twin|duo)(?![\w-])", text)

    if scene.layout != "pair":
        assert two is None
        return
    nouns = [plural_of(noun) for noun in KIND_WORDS[scene.kind]]
    assert (
        two or is_said(nouns, text) or is_said([*all_of(PAIR_LATER), *all_of(LAYOUT_PHRASES["pair"])], text)
    )


@given(ALL_SCENES, SEEDS)
@settings(deadline=None, max_examples=300)
def test_shadows_are_denied_only_where_there_is_none(scene: Scene, seed: int) -> None:
    """A scene with a shadow is never said to have none."""
    text = spoken(scene, seed)

    if scene.shadow:
        assert not re.search(
            r"shadowless|shadow-free|(no|without|not any|zero|omit|avoid)( a| any| the)? shadows?", text
        )


@given(ALL_SCENES, SEEDS)
@settings(deadline=None, max_examples=500)
def test_what_is_denied_is_not_there(scene: Scene, seed: int) -> None:
    """ "Not glossy", "blue instead of red", "no lamp" never deny what the scene shows."""
    text = spoken(scene, seed)

    for attribute, wordings in DENIALS.items():
        own = re.escape(getattr(scene, attribute))
        for wording in wordings:
            denied = re.escape(" ".join(words_of(wording.replace("{no}", "slotno").replace("{x}", "slotx"))))
            pattern = denied.replace("slotno", own).replace("slotx", r"[\w\s-]+?")
            assert not re.search(rf"(?<![\w-]){pattern}(?![\w-])", text), (wording, text)


def test_captions_hardly_repeat_themselves() -> None:
    """Of 3000 captions at least 97 % are phrasings of their own: it is a grammar, not a list of templates."""
    rng = Random(3)
    skeletons = {sentence_skeleton(caption(training_scene(rng), rng)) for _ in range(3000)}

    assert len(skeletons) >= 0.97 * 3000


@given(ALL_SCENES)
def test_plain_captions_leave_nothing_out(scene: Scene) -> None:
    """The simplest caption names all that differs from the usual, in words of the vocabulary."""
    text = plain_caption(scene)

    for said in (scene.colour, scene.material, scene.background):
        assert said in text
    assert (scene.layout == "pair") == text.startswith("two ")
    assert scene.layout in text or scene.layout == "pair"
    assert ("no shadow" in text) is not scene.shadow
    assert (f"light from the {scene.light}" in text) is (scene.light != DEFAULT_LIGHT)
    assert set(words_of(text)) <= set(vocabulary_words())


def test_plain_captions_are_plain_english() -> None:
    """What a person would type, with the right article."""
    one = Scene(kind="mug", colour="orange", material="glossy", background="white", layout="centered")
    two = Scene(
        kind="dress", colour="red", material="matte", background="garden", layout="pair", shadow=False
    )
    plural = Scene(
        kind="headphones", colour="red", material="matte", background="dark", layout="small", light="front"
    )

    assert "a glossy orange mug on a white background, centered" == plain_caption(one)
    assert "two matte red dresses in a garden, no shadow" == plain_caption(two)
    assert "matte red headphones on a dark background, small, light from the front" == plain_caption(plural)


def test_skeletons_forget_attributes_and_keep_phrasing() -> None:
    """Two scenes in one phrasing share a skeleton; another phrasing has another."""
    first = sentence_skeleton("A shiny red coffee mug on a sky blue background.")

    assert "a <material> <colour> <kind> on a <colour> background" == first
    assert first == sentence_skeleton("a wooden navy blue sofa on a white background")
    assert first != sentence_skeleton("a white background behind a wooden navy blue sofa")


def test_the_handwritten_prompts_are_phrased_as_no_training_caption() -> None:
    """None of the hand-written prompts shares its skeleton with one of 10 000 captions drawn as in training.

    Prompts of two or three words ("red mug") have no phrasing of their own and are let pass.
    """
    rng = Random("handwritten")
    trained = {sentence_skeleton(caption(training_scene(rng), rng)) for _ in range(10_000)}

    written = {sentence_skeleton(prompt.prompt) for prompt in handwritten_prompts()}
    assert not {skeleton for skeleton in written & trained if len(skeleton.split()) > 3}


def test_synonyms_for_other_rooms_are_unambiguous() -> None:
    """A word offered as a synonym is never a word of the world itself, and never means two things."""
    world = {word for table in TABLES.values() for word in table}
    offered = unambiguous_synonyms()

    assert "couch" in offered
    assert "azure" not in offered  # a blue and a sky blue backdrop
    assert not world & set(offered)
    for word, meaning in offered.items():
        assert {meaning} == {table[word] for table in SYNONYMS.values() if word in table}


@pytest.mark.parametrize("attribute", sorted(TABLES))
def test_synonyms_mean_something_that_exists(attribute: str) -> None:
    """Each synonym points at a word of its own table, and each word of the world has a wording."""
    assert set(SYNONYMS[attribute].values()) <= set(TABLES[attribute])
    wordings = {
        "kind": KIND_WORDS,
        "colour": COLOUR_WORDS,
        "material": MATERIAL_WORDS,
        "background": {**BACKDROP_WORDS, **SCENE_WORDS},
        "layout": LAYOUT_PHRASES,
    }
    assert set(TABLES[attribute]) == set(wordings[attribute])


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("mug", "mugs"), ("watch", "watches"), ("dress", "dresses"), ("headphones", "headphones")],
)
def test_plurals(noun: str, plural: str) -> None:
    """English plurals of the catalogue's nouns."""
    assert plural == plural_of(noun)

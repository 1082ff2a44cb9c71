"""The closed world: its words, its captions, and what is never shown in training."""

import json
import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue.captions import (
    FILLER,
    PRODUCTS,
    SYNONYMS,
    TEMPLATES,
    caption,
    compose,
    plain_caption,
    training_scene,
    unambiguous_synonyms,
    vocabulary_words,
)
from models.catalogue.world import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    LAYOUTS,
    MATERIALS,
    Scene,
    held_out_pairs,
    is_held_out,
    sample_scene,
)
from models.evaluation.prompts import draw_unseen_prompts, seen_prompts, unseen_prompts

SCENES = st.builds(
    Scene,
    kind=st.sampled_from(KINDS),
    colour=st.sampled_from(sorted(COLOURS)),
    material=st.sampled_from(MATERIALS),
    background=st.sampled_from(sorted(BACKGROUNDS)),
    layout=st.sampled_from(sorted(LAYOUTS)),
)


def words_of(text: str) -> list[str]:
    """A caption as the tokenizer splits it."""
    return re.sub(",", " , ", text).split()


def test_the_world_is_as_large_as_promised() -> None:
    """At least 12 kinds, 12 colours, 8 backgrounds and 5 layouts, said in at least 8 ways."""
    assert len(KINDS) >= 12
    assert len(COLOURS) >= 12
    assert len(BACKGROUNDS) >= 8
    assert len(LAYOUTS) >= 5
    assert len(set(TEMPLATES)) >= 8


def test_held_out_pairs_touch_every_kind() -> None:
    """Each kind has an unseen colour, and about a tenth of all pairs is unseen."""
    pairs = held_out_pairs()

    assert set(KINDS) == {kind for kind, _ in pairs}
    assert 10 <= len(pairs) <= 20


@given(st.integers(0, 2**32))
@settings(deadline=None)
def test_held_out_pairs_are_never_trained_on(seed: int) -> None:
    """No draw of a training scene gives a held-out pair."""
    rng = Random(seed)

    for _ in range(20):
        scene = training_scene(rng)
        assert not is_held_out(scene.kind, scene.colour)
        assert is_held_out(*_pair(sample_scene(rng, held_out=True)))


@given(SCENES, st.integers(0, 2**32))
@settings(deadline=None)
def test_a_caption_says_its_scene(scene: Scene, seed: int) -> None:
    """Kind and colour are always named, by their own words or by synonyms of them, and of no other kind or colour."""
    text = " " + caption(scene, Random(seed)).replace(FILLER + " ", "").replace(",", " ") + " "

    assert any(f" {word} " in text for word in _names("kind", scene.kind))
    assert any(f" {word} " in text for word in _names("colour", scene.colour))
    for other in set(KINDS) - {scene.kind}:
        assert f" {other} " not in text


@given(SCENES, st.integers(0, 2**32))
@settings(deadline=None)
def test_captions_stay_in_the_vocabulary(scene: Scene, seed: int) -> None:
    """Every word but the filler is known, so that training never teaches a known meaning to the unknown token."""
    known = set(vocabulary_words())

    assert FILLER not in known
    assert {word for word in words_of(caption(scene, Random(seed))) if word != FILLER} <= known


@given(
    SCENES,
    st.sampled_from(TEMPLATES),
    st.sampled_from(PRODUCTS),
    st.sets(st.sampled_from(["material", "background", "layout"])),
)
@settings(deadline=None)
def test_omitting_leaves_no_debris(scene: Scene, template: str, product: str, omitted: set[str]) -> None:
    """Whatever is left out, the sentence has no dangling comma, slot, preposition or double space."""
    words = {
        name: "" if name in omitted else getattr(scene, name)
        for name in ("kind", "colour", "material", "background", "layout")
    }

    text = compose(template, product, words)

    assert not re.search(r"[{}]|  |,,|, ,|^,|,$| ,", text)
    assert not re.search(r"\b(a|on|the|against|with|of|in)$", text)
    if "background" in omitted:
        assert "backdrop" not in text
        assert "background" not in text


def test_plain_captions_are_plain_english() -> None:
    """The first template is what a person would type, with the right article."""
    scene = Scene(kind="mug", colour="orange", material="matte", background="white", layout="centered")

    assert "a matte orange mug on a white background, centered" == plain_caption(scene)
    words = {"kind": "mug", "colour": "orange", "material": "", "background": "white", "layout": ""}
    assert "an orange mug on a white background" == compose(TEMPLATES[0], PRODUCTS[0], words)


def test_synonyms_for_other_rooms_are_unambiguous() -> None:
    """A word offered as a synonym is never a word of the world itself."""
    world = {*KINDS, *COLOURS, *MATERIALS, *BACKGROUNDS, *LAYOUTS}

    assert "couch" in unambiguous_synonyms()
    assert not world & set(unambiguous_synonyms())


def test_the_scored_prompts_are_fixed_and_unseen() -> None:
    """200 committed prompts, all with held-out pairs, every pair, background and layout about equally often."""
    prompts = unseen_prompts()

    assert 200 == len(prompts)
    assert all(is_held_out(*_pair(p.scene)) for p in prompts)
    assert set(held_out_pairs()) == {_pair(p.scene) for p in prompts}
    for name, values in (("background", BACKGROUNDS), ("layout", LAYOUTS)):
        counts = [sum(getattr(p.scene, name) == value for p in prompts) for value in values]
        assert max(counts) - min(counts) <= 1
    assert json.dumps([p.prompt for p in draw_unseen_prompts()]) == json.dumps([p.prompt for p in prompts])
    assert not any(is_held_out(*_pair(p.scene)) for p in seen_prompts(50))


def _pair(scene: Scene) -> tuple[str, str]:
    return scene.kind, scene.colour


def _names(attribute: str, word: str) -> list[str]:
    return [word, *(other for other, meaning in SYNONYMS[attribute].items() if meaning == word)]


@pytest.mark.parametrize("attribute", sorted(SYNONYMS))
def test_synonyms_mean_something_that_exists(attribute: str) -> None:
    """Each synonym points at a word of its own table."""
    tables = {
        "kind": KINDS,
        "colour": COLOURS,
        "material": MATERIALS,
        "background": BACKGROUNDS,
        "layout": LAYOUTS,
    }

    assert set(SYNONYMS[attribute].values()) <= set(tables[attribute])

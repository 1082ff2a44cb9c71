"""The fixed prompts: drawn evenly, held out, and, where written by hand, unlike anything the grammar says."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from models.catalogue.captions import caption, sentence_skeleton
from models.catalogue.world import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    LAYOUTS,
    LIGHTS,
    MATERIALS,
    held_out_pairs,
    is_held_out,
    sample_scene,
)
from models.evaluation.prompts import (
    PROMPT_COUNT,
    ScoredPrompt,
    draw_unseen_prompts,
    handwritten_prompts,
    seen_prompts,
    subset_places,
    unseen_prompts,
)

_CAPTIONS = 20_000


def test_the_committed_scenes_are_those_the_code_draws() -> None:
    """Nobody picked easy scenes: they are what the lot gives. The words stay as committed when the grammar grows."""
    assert [prompt.scene for prompt in draw_unseen_prompts()] == [prompt.scene for prompt in unseen_prompts()]


def test_unseen_prompts_go_round_everything_evenly() -> None:
    """All held-out pairs and nothing else; each pair, material, background and layout as often as any other, give or take one."""
    scenes = [prompt.scene for prompt in unseen_prompts()]

    assert PROMPT_COUNT == len(scenes) == 500
    assert set(held_out_pairs()) == {(scene.kind, scene.colour) for scene in scenes}
    for values in (
        [(s.kind, s.colour) for s in scenes], [s.material for s in scenes], [s.background for s in scenes], [s.layout for s in scenes],
    ):  # fmt: skip
        counts = Counter(values).values()
        assert max(counts) - min(counts) <= 1
    assert 100 == sum(not scene.shadow for scene in scenes)
    assert set(LIGHTS) == {scene.light for scene in scenes}


def test_seen_prompts_have_no_held_out_pair() -> None:
    """They are drawn as training scenes are, and the same ones each time."""
    prompts = seen_prompts(50)

    assert not any(is_held_out(prompt.scene.kind, prompt.scene.colour) for prompt in prompts)
    assert prompts == seen_prompts(50)


def test_handwritten_prompts_cover_the_world() -> None:
    """At least 200, all different, with every word of the tables, and about half with pairs never seen together."""
    prompts = handwritten_prompts()
    scenes = [prompt.scene for prompt in prompts]

    assert len(prompts) >= 200
    assert (
        len(prompts) == len({prompt.prompt for prompt in prompts}) == len({prompt.seed for prompt in prompts})
    )
    for name, words in (
        ("kind", KINDS), ("colour", COLOURS), ("material", MATERIALS), ("background", BACKGROUNDS), ("layout", LAYOUTS), ("light", LIGHTS),
    ):  # fmt: skip
        assert set(words) == {getattr(scene, name) for scene in scenes}
    held_out = sum(is_held_out(scene.kind, scene.colour) for scene in scenes)
    assert 0.4 <= held_out / len(scenes) <= 0.6


def test_no_handwritten_phrasing_is_one_of_the_grammar() -> None:
    """Among 20 000 training captions there is no sentence that differs from a handwritten one only in its attribute words."""
    rng = Random("captions against the suite")
    grammar = {sentence_skeleton(caption(sample_scene(rng), rng)) for _ in range(_CAPTIONS)}

    same = [p.prompt for p in handwritten_prompts() if sentence_skeleton(p.prompt) in grammar]

    assert [] == same


@pytest.mark.parametrize(
    ("text", "shadow", "subsets"),
    [
        ("a red mug without shadow", False, {"negation"}),
        ("a red mug, shadow removed", False, {"negation"}),
        ("a mug, not green but red", True, {"negation"}),
        ("a notable red mug", True, set()),
    ],
)
def test_subsets_are_found(text: str, shadow: bool, subsets: set[str]) -> None:
    """Negation is a scene without shadow or a word that says no; not letters inside another word."""
    scene = seen_prompts(1)[0].scene
    plain = type(scene)(
        kind="mug", colour="red", material="matte", background="white", layout="centered", shadow=shadow
    )

    found = {name for name, places in subset_places([ScoredPrompt(text, plain, 0)]).items() if places}

    assert subsets == found


def test_number_and_light_subsets() -> None:
    """A pair tests numbers, any light but the default tests light."""
    prompts = unseen_prompts()
    places = subset_places(prompts)

    assert all(prompts[i].scene.layout == "pair" for i in places["number"])
    assert all(prompts[i].scene.light != "left" for i in places["light"])
    assert min(map(len, places.values())) >= 50

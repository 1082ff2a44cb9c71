"""The renderer that teaches the model, and the meters that judge it."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue.world import sample_scene
from models.evaluation.classifier import Classifier
from models.evaluation.judgement import shares_right
from models.evaluation.pixel_checks import PixelMeter, to_lab
from models.evaluation.prompts import unseen_prompts
from models.evaluation.score import shuffled

pytest.importorskip("skia", reason="the renderer is part of the [train] extra")

from models.training.renderer import render


@given(seed=st.integers(0, 2**40), size=st.sampled_from([(128, 128), (160, 96), (96, 160), (48, 64)]))
@settings(max_examples=15, deadline=None)
def test_a_scene_and_a_seed_give_one_picture(seed: int, size: tuple[int, int]) -> None:
    """The same call gives the same bytes, in any size."""
    scene, (width, height) = sample_scene(Random(seed)), size

    picture = render(scene, seed, width, height)

    assert (height, width, 3) == picture.shape
    assert picture.tobytes() == render(scene, seed, width, height).tobytes()


def test_seeds_vary_a_scene() -> None:
    """Two seeds of one scene differ, but only a little."""
    scene = sample_scene(Random(1))
    one, two = render(scene, 1).astype(int), render(scene, 2).astype(int)

    assert 0 < np.abs(one - two).mean() < 30


def test_meters_know_real_renders_and_not_shuffled_ones() -> None:
    """Both meters are near right on true renders of the scored scenes, and near chance when the scenes are shuffled."""
    scenes = [prompt.scene for prompt in unseen_prompts()]
    pictures = [render(scene, seed) for seed, scene in enumerate(scenes)]
    net, pixels = Classifier().judge(pictures), PixelMeter.open().judge(pictures)

    ceiling, chance = shares_right(net, scenes), shares_right(net, shuffled(scenes))
    plain, plain_chance = shares_right(pixels, scenes), shares_right(pixels, shuffled(scenes))

    assert ceiling["joint"] >= 0.97
    assert ceiling["material"] >= 0.85
    assert chance["joint"] <= 0.03
    assert chance["kind"] <= 0.2
    assert plain["background"] >= 0.97
    assert plain["layout"] >= 0.93
    assert plain["colour"] >= 0.8
    assert plain_chance["colour"] <= 0.25


def test_an_empty_picture_fools_no_meter() -> None:
    """A blank backdrop is not judged right by luck: the pixel meter finds no product in it."""
    scenes = [prompt.scene for prompt in unseen_prompts()[:50]]
    blank = [np.full((128, 128, 3), 200, np.uint8)] * len(scenes)

    shares = shares_right(Classifier().judge(blank), scenes)

    assert shares["joint"] <= 0.1
    assert {"colour", "background", "layout"} == set(PixelMeter.open().judge(blank[:1])[0].seen)


def test_lab_of_known_colours() -> None:
    """White is (100, 0, 0), black (0, 0, 0), and sRGB red (53.2, 80.1, 67.2)."""
    lab = to_lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8))

    assert np.allclose(lab, [[100, 0, 0], [0, 0, 0], [53.2, 80.1, 67.2]], atol=0.15)

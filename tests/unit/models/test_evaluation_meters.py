"""The meters: what they see, what they do not claim to see, and that they are right on real renders."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from models.catalogue.world import COLOURS, KINDS, SCENES, Scene, sample_scene
from models.errors import ModelNotFound
from models.evaluation.classifier import CLASSIFIER_FILE, JUDGED_SIZE, Classifier, squared
from models.evaluation.following import Meters, follow, shuffled
from models.evaluation.judgement import ATTRIBUTES, JOINT, Judgement, shares_right
from models.evaluation.pixel_checks import CHECKED, PixelMeter, can_judge, to_lab
from models.evaluation.prompts import ScoredPrompt, unseen_prompts


def scene_like(**changes: object) -> Scene:
    """A plain scene with some attributes changed."""
    plain = {"kind": "mug", "colour": "red", "material": "matte", "background": "white", "layout": "centered"}
    return Scene(**{**plain, **changes})  # type: ignore[arg-type]


def perfect(scene: Scene) -> Judgement:
    """A judgement that sees everything as it is."""
    return Judgement({name: getattr(scene, name) for name in ATTRIBUTES})


def test_shares_count_what_is_right() -> None:
    """Each attribute by itself; joint only where all of its parts are right, whatever material, light and shadow are."""
    scenes = [
        scene_like(),
        scene_like(colour="blue"),
        scene_like(material="glass", light="front", shadow=False),
    ]
    seen = [perfect(scene_like())] * 3

    shares = shares_right(seen, scenes)

    assert (3, 2, 2) == (shares["kind"].right, shares["colour"].right, shares["material"].right)
    assert (2, 2, 2) == (shares["light"].right, shares["shadow"].right, shares["joint"].right)
    assert {"material", "light", "shadow"}.isdisjoint(JOINT)


def test_what_a_meter_does_not_claim_to_see_is_not_counted() -> None:
    """The share of an attribute is over the pictures it can be judged in, and says how many they are."""
    scenes = [scene_like(), scene_like(background="garden"), scene_like(material="glass")]
    seen = [Judgement({name: getattr(scene, name) for name in CHECKED}) for scene in scenes]

    shares = shares_right(seen, scenes, can_judge)

    assert (1, 3, 2) == (shares["colour"].count, shares["background"].count, shares["layout"].count)
    assert "joint" not in shares


def test_a_table_behind_the_product_is_too_much_for_plain_pixels() -> None:
    """On scenes only the background is judged; see-through products have no colour of their own."""
    for background in SCENES:
        assert [True, False, False] == [
            can_judge(scene_like(background=background), name) for name in ("background", "colour", "layout")
        ]
    assert not can_judge(scene_like(material="glass"), "colour")
    assert can_judge(scene_like(material="glass"), "layout")


def test_shuffled_scenes_leave_nobody_at_home() -> None:
    """The chance line compares each picture with the scene of another one, each scene once."""
    scenes = [scene_like(kind=KINDS[i % 20], colour=list(COLOURS)[i % 12]) for i in range(60)]

    moved = shuffled(scenes)

    assert Counter(map(repr, scenes)) == Counter(map(repr, moved))
    assert all(a is not b for a, b in zip(scenes, moved, strict=True))


def test_lab_of_white_black_and_gray() -> None:
    """White is L 100, black L 0, and grays have no colour."""
    lab = to_lab(np.array([[[255] * 3, [0] * 3, [119] * 3]], np.uint8))

    assert lab[0, :, 0] == pytest.approx([100, 0, 50], abs=0.5)
    assert np.abs(lab[0, :, 1:]).max() < 0.1


def test_a_blank_picture_shows_no_product() -> None:
    """Plain pixels find nothing to judge in a blank backdrop, and say no layout by luck."""
    seen = PixelMeter.open().judge([np.full((128, 128, 3), 244, np.uint8)])[0].seen

    assert "white" == seen["background"]
    assert set(CHECKED) == set(seen)


def test_the_classifier_is_small_and_takes_any_size() -> None:
    """Its file stays below 2 MB; wide and tall pictures, many and one, are judged."""
    classifier = Classifier()
    pictures = [np.zeros(shape, np.uint8) for shape in ((128, 128, 3), (96, 160, 3), (300, 200, 3))]

    look = classifier.look(pictures * 15)

    assert CLASSIFIER_FILE.stat().st_size < 2_000_000
    assert 45 == len(look.judgements) == len(look.features) == len(look.kinds)
    assert look.kinds.sum(1) == pytest.approx(1)
    assert (JUDGED_SIZE, JUDGED_SIZE, 3) == squared(pictures[1]).shape
    assert set(ATTRIBUTES) == set(look.judgements[0].seen)


def test_one_picture_is_judged_as_in_company() -> None:
    """Features of a picture do not depend on its neighbours."""
    rng, classifier = np.random.default_rng(0), Classifier()
    pictures = [rng.integers(0, 256, (128, 128, 3)).astype(np.uint8) for _ in range(5)]

    assert classifier.features(pictures)[3] == pytest.approx(classifier.features([pictures[3]])[0], abs=1e-4)


def test_a_missing_classifier_says_how_to_make_one(tmp_path: object) -> None:
    """The error names the command."""
    from pathlib import Path

    with pytest.raises(ModelNotFound, match="train_meter"):
        Classifier(Path(str(tmp_path)) / "none.onnx")


@pytest.fixture(scope="module")
def truth() -> tuple[list[ScoredPrompt], list[np.ndarray]]:
    """Real renders of half of the fixed prompts."""
    pytest.importorskip("skia", reason="the renderer is part of the [train] extra")
    from models.evaluation.subject import real_renders

    prompts = unseen_prompts()[::2]
    return prompts, real_renders([prompt.scene for prompt in prompts], 20_000)


@pytest.mark.train
def test_meters_know_real_renders_and_not_shuffled_ones(
    truth: tuple[list[ScoredPrompt], list[np.ndarray]],
) -> None:
    """Both meters are near right on real renders of the scored scenes, and near chance on shuffled scenes."""
    prompts, pictures = truth

    result = follow(Meters.open(), prompts, pictures, None)

    net, chance = result.meters["classifier"], result.chance["classifier"]
    for name in ("kind", "colour", "background", "layout"):
        assert net[name].value >= 0.975, name
    assert net["material"].value >= 0.93
    assert net["joint"].value >= 0.95
    assert chance["joint"].value <= 0.02
    assert chance["kind"].value <= 0.15
    pixels = result.meters["pixels"]
    assert pixels["background"].value >= 0.98
    assert pixels["colour"].value >= 0.85
    assert pixels["layout"].value >= 0.85
    assert result.chance["pixels"]["colour"].value <= 0.25


@pytest.mark.train
def test_the_meter_is_not_biased_against_held_out_pairs() -> None:
    """It has seen them: on renders it is as right about held-out pairs as about the others, within five points."""
    pytest.importorskip("skia", reason="the renderer is part of the [train] extra")
    from models.evaluation.subject import real_renders

    rng, classifier = Random(4), Classifier()
    groups = [[sample_scene(rng, held_out) for _ in range(200)] for held_out in (False, True)]
    joint = [shares_right(classifier.judge(real_renders(g, 31_000)), g)["joint"].value for g in groups]

    assert joint[1] >= joint[0] - 0.05

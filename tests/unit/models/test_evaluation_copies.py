"""Copies are found, and their absence is not an accident; variety is measured against real renders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from models.catalogue.captions import training_scene
from models.evaluation.classifier import Classifier
from models.evaluation.diversity import measure_diversity
from models.evaluation.memorisation import check_memorisation
from models.evaluation.subject import TrainingRenders

Pixels = np.ndarray
RECIPES = Path(__file__).parents[3] / "models" / "training" / "recipes"


def drawn(count: int, seed: int) -> list[Pixels]:
    """Pictures of random patches: a stand-in for a world with many scenes."""
    rng, pictures = np.random.default_rng(seed), []
    for _ in range(count):
        patches = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        pictures.append(patches.repeat(16, axis=0).repeat(16, axis=1))
    return pictures


class CountedReads(Sequence[Pixels]):
    """A training set that counts how often a picture is asked for."""

    def __init__(self, pictures: list[Pixels]) -> None:
        self.pictures, self.reads = pictures, 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> Pixels:  # type: ignore[override]
        self.reads += 1
        return self.pictures[place]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The repository's."""
    return Classifier()


def test_pictures_of_ones_own_are_no_copies(classifier: Classifier) -> None:
    """Drawn anew, the distances are those of other fresh pictures: ratio about 1, nothing suspicious."""
    result = check_memorisation(classifier, drawn(24, 1), drawn(24, 2), drawn(60, 3))

    assert result.passed
    assert (24, 60) == (result.count, result.training_count)
    assert result.pixels.ratio == pytest.approx(1, abs=0.1)


def test_a_copy_is_found_even_with_a_little_noise(classifier: Classifier) -> None:
    """One training picture among the drawn ones, each byte off by a few levels, fails the check and is shown first."""
    training, pictures = drawn(60, 3), drawn(24, 1)
    noise = np.random.default_rng(0).integers(-4, 5, training[17].shape)
    pictures[5] = (training[17] + noise).clip(0, 255).astype(np.uint8)

    result = check_memorisation(classifier, pictures, drawn(24, 2), training)

    assert not result.passed
    assert 1 == result.pixels.copies
    assert (5, 17) == (result.closest[0].place, result.closest[0].training_place)
    assert result.closest[0].distance < 3


def test_training_pictures_are_read_once_and_the_closest_once_more(classifier: Classifier) -> None:
    """A large training set is never held in memory."""
    training = CountedReads(drawn(300, 3))

    result = check_memorisation(classifier, drawn(8, 1), drawn(8, 2), training)

    assert 300 + len(result.closest) == training.reads


def test_one_picture_for_all_seeds_is_not_diverse(classifier: Classifier) -> None:
    """The ratio is 1 where pictures vary as real ones do, 0 where every seed gives the same."""
    real = [drawn(4, seed) for seed in range(3)]
    stuck = [[group[0]] * 4 for group in real]

    assert measure_diversity(classifier, real, real).ratio == pytest.approx(1)
    flat = measure_diversity(classifier, stuck, real)
    assert flat.ratio < 0.01
    assert not flat.as_json()["passed"]


@pytest.mark.train
def test_the_training_set_is_the_one_trained_on() -> None:
    """The check draws the very pictures that were encoded for training: same recipe seed, same shards, same order."""
    pytest.importorskip("torch", reason="part of the [train] extra")
    pytest.importorskip("skia", reason="part of the [train] extra")
    from models.training.recipe import Bucket, LatentStage, Recipe
    from models.training.render_pool import RenderPool

    recipe = Recipe.read(RECIPES / "starter.toml")
    rows = LatentStage(kind="latents").shard_rows
    rng = Random(f"latents {recipe.seed} 128x128 000001")
    scenes = [training_scene(rng) for _ in range(rows)]
    encoded = RenderPool(0).draw(scenes[:2], rng, Bucket(width=128, height=128, share=1.0))
    pixels = ((encoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

    renders = TrainingRenders(2 * rows)

    assert [True, True] == [
        np.array_equal(a, b) for a, b in zip(renders[rows : rows + 2], pixels, strict=True)
    ]
    with pytest.raises(IndexError):
        renders[2 * rows]

"""Distances between distributions agree with closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from models.errors import TooFewSamples
from models.evaluation.classifier import Classifier
from models.evaluation.distances import (
    cosine_similarities,
    frechet_distance,
    frechet_feature_distance,
    inception_score,
    kernel_distance,
    kernel_distance_spread,
    kernel_likeness,
    mean_pairwise_distance,
    nearest_neighbours,
)


def sample_with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Rows whose sample mean and covariance are exactly these: drawn, whitened, then shaped."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(0)
    whitened = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return whitened @ np.linalg.cholesky(covariance).T + mean


def test_two_gaussians_have_the_exact_frechet_distance() -> None:
    """Diagonal covariances: squared shift plus squared differences of the deviations."""
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    expected = ((mean_a - mean_b) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()

    assert expected == pytest.approx(frechet_distance(mean_a, np.diag(a), mean_b, np.diag(b)))
    rows = [sample_with_moments(m, np.diag(v), 50, i) for i, (m, v) in enumerate(((mean_a, a), (mean_b, b)))]
    assert expected == pytest.approx(frechet_feature_distance(*rows))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_covariances_that_do_not_commute(seed: int) -> None:
    """In two dimensions tr sqrt(AB) is sqrt(tr AB + 2 sqrt det AB), for any A and B."""
    rng = np.random.default_rng(seed)
    a, b = (m @ m.T + 0.1 * np.eye(2) for m in rng.normal(size=(2, 2, 2)))
    product = a @ b
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))

    expected = np.trace(a) + np.trace(b) - 2 * root
    assert expected == pytest.approx(frechet_distance(np.zeros(2), a, np.zeros(2), b), abs=1e-9)


def test_a_set_is_no_distance_from_itself() -> None:
    """FID(x, x) is 0, also where a feature never varies."""
    rows = np.random.default_rng(0).normal(size=(40, 6))
    rows[:, 3] = 1.0

    assert frechet_feature_distance(rows, rows) == pytest.approx(0, abs=1e-6)


def test_too_few_pictures_are_refused() -> None:
    """With fewer rows than features nothing is said."""
    rows = np.random.default_rng(0).normal(size=(5, 6))

    with pytest.raises(TooFewSamples, match="5 pictures"):
        frechet_feature_distance(rows, rows)


def test_kernel_distance_is_unbiased() -> None:
    """Over many draws from one distribution its mean is 0 within four standard errors, and it can be negative."""
    rng = np.random.default_rng(1)
    values = [kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(20, 4))) for _ in range(400)]

    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_kernel_distance_of_two_points_by_hand() -> None:
    """Cubic kernel (x.y / F + 1)^3, own pairs left out."""
    a, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [2.0, 0.0]])

    # between the rows of a: (0 / 2 + 1)^3; of b: (4 / 2 + 1)^3; across: (2 / 2 + 1)^3 and (0 / 2 + 1)^3
    assert kernel_distance(a, b) == pytest.approx(1 + 27 - 2 * (8 + 8 + 1 + 1) / 4)


def test_a_picture_never_meets_its_twin_in_the_spread() -> None:
    """Two equal sets do not look closer than two draws of one distribution: the mean stays about zero."""
    rows = np.random.default_rng(2).normal(size=(120, 5))

    spread = kernel_distance_spread(rows, rows)

    assert (50, 60) == (spread.subsets, spread.subset_size)
    assert abs(spread.mean) < 3 * spread.deviation


def test_kernel_likeness_leaves_the_diagonal_out() -> None:
    """Only rows at different places count."""
    rows = np.array([[10.0, 0.0], [0.0, 10.0]])

    assert kernel_likeness(rows, rows) == pytest.approx(1.0)


def test_inception_score_of_certain_and_of_empty_predictions() -> None:
    """One-hot and even: the number of classes. Uniform, or always the same class: 1."""
    assert inception_score(np.eye(7)) == pytest.approx(7)
    assert inception_score(np.full((5, 7), 1 / 7)) == pytest.approx(1)
    assert inception_score(np.eye(7)[[2, 2, 2]]) == pytest.approx(1)


def test_equal_embeddings_have_cosine_one() -> None:
    """Cosine: 1 for the same direction, 0 across and for a zero row, -1 for the opposite."""
    a = np.array([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    b = np.array([[2.0, 4.0], [0.0, 3.0], [1.0, 0.0], [-2.0, -2.0]])

    assert cosine_similarities(a, b) == pytest.approx([1, 0, 0, -1])


@given(seed=st.integers(0, 10_000), block=st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_nearest_neighbours_are_those_of_a_plain_search(seed: int, block: int) -> None:
    """Whatever the block size, each row's nearest is the one a loop finds."""
    rng = np.random.default_rng(seed)
    queries, others = rng.normal(size=(5, 3)), rng.normal(size=(9, 3))
    plain = np.linalg.norm(queries[:, None] - others[None], axis=-1)

    places, distances = nearest_neighbours(queries, others, block)

    assert plain.argmin(1).tolist() == places.tolist()
    assert distances == pytest.approx(plain.min(1))


def test_mean_pairwise_distance_by_hand() -> None:
    """A triangle with sides 3, 4 and 5."""
    assert mean_pairwise_distance(np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])) == pytest.approx(4)


def drawn_shapes(count: int, seed: int) -> list[np.ndarray]:
    """Pictures with hard edges, without the renderer: rectangles of random colours on random grounds."""
    rng, pictures = np.random.default_rng(seed), []
    for _ in range(count):
        picture = np.full((128, 128, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(3):
            top, left = rng.integers(0, 96, 2)
            height, width = rng.integers(16, 64, 2)
            picture[top : top + height, left : left + width] = rng.integers(0, 256, 3)
        pictures.append(picture)
    return pictures


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """Softened by a Gaussian."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def noisy(picture: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """With Gaussian noise."""
    return (
        (picture + np.random.default_rng(seed).normal(0, amount, picture.shape)).clip(0, 255).astype(np.uint8)
    )


def cell_steps(pictures: list[np.ndarray]) -> np.ndarray:
    """Features without a net: how much neighbours differ in each of 4 x 4 cells, and how bright each cell is."""
    light = np.stack([picture.mean(2) for picture in pictures])  # (N, 128, 128)
    steps = (
        np.diff(light, axis=2, append=light[:, :, -1:]) ** 2 / 16
    )  # squared: blur spreads a step but keeps its sum
    cells = [part.reshape(-1, 4, 32, 4, 32).mean((2, 4)).reshape(-1, 16) for part in (steps, light / 16)]
    return np.concatenate(cells, axis=1)


def assert_growing(series: list[np.ndarray], real: np.ndarray) -> None:
    """Both distances to `real` rise along the series."""
    for distance in (frechet_feature_distance, kernel_distance):
        values = [distance(features, real) for features in series]
        assert sorted(values) == values, distance.__name__


def test_distances_grow_with_blur_and_with_noise() -> None:
    """Both distances rank pictures by how much they were spoilt, whatever spoilt them."""
    pictures, real = drawn_shapes(96, 0), cell_steps(drawn_shapes(96, 1))

    assert_growing([cell_steps([blurred(p, r) for p in pictures]) for r in (0, 2, 4, 8)], real)
    assert_growing(
        [cell_steps([noisy(p, a, i) for i, p in enumerate(pictures)]) for a in (0, 10, 30, 80)], real
    )


@pytest.mark.train
def test_the_meters_features_rank_spoilt_renders() -> None:
    """The same on the classifier's features of real renders: it was taught to name things in spite of blur, and sees it all the same."""
    pytest.importorskip("skia", reason="the renderer is part of the [train] extra")
    from models.evaluation.prompts import unseen_prompts
    from models.evaluation.subject import real_renders

    classifier, scenes = Classifier(), [prompt.scene for prompt in unseen_prompts()[:260]]
    pictures, real = real_renders(scenes, 50_000), classifier.features(real_renders(scenes, 60_000))

    assert_growing([classifier.features([blurred(p, r) for p in pictures]) for r in (0, 1, 2)], real)
    assert_growing([classifier.features([noisy(p, a, 1) for p in pictures]) for a in (0, 12, 40)], real)

"""Distances between two sets of feature vectors, in plain numpy: Frechet, kernel, inception score, nearest neighbours.

Which net made the features decides what a figure may be called: "FID" is this distance on the features of one
particular Inception net and nothing else.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from models.errors import TooFewSamples

Floats: TypeAlias = npt.NDArray[np.float64]

_SUBSETS = 50
_LARGEST_SUBSET = 100


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over random subsets: mean and standard deviation."""

    mean: float
    deviation: float
    subsets: int
    subset_size: int


def frechet_distance(mean_a: Floats, covariance_a: Floats, mean_b: Floats, covariance_b: Floats) -> float:
    """Squared Frechet distance of two Gaussians (Dowson and Landau 1982): means (F,), covariances (F, F).

    The trace of the square root of the product is taken from the eigenvalues of the symmetric matrix
    A^1/2 B A^1/2, which has the same ones and stays real.
    """
    root = _square_root(covariance_a)
    inner = np.linalg.eigvalsh(root @ covariance_b @ root)
    shift = float(((mean_a - mean_b) ** 2).sum())
    trace = float(np.trace(covariance_a) + np.trace(covariance_b) - 2 * np.sqrt(inner.clip(0)).sum())
    return max(0.0, shift + trace)


def frechet_feature_distance(a: Floats, b: Floats) -> float:
    """Frechet distance of Gaussians fitted to two feature sets (N, F) (Heusel et al. 2017, arXiv:1706.08500).

    Raises:
        TooFewSamples: either set has fewer rows than features.
    """
    for rows in (a, b):
        if rows.shape[0] < rows.shape[1]:
            raise TooFewSamples(
                f"{rows.shape[0]} pictures are fewer than {rows.shape[1]} features: take more pictures"
            )
    return frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))


def kernel_distance(a: Floats, b: Floats) -> float:
    """Unbiased squared maximum mean discrepancy with the cubic kernel (x.y / F + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401).

    Args:
        a, b: features (N, F) and (M, F), at least two rows each. The result scatters around 0 for equal distributions
            and may be negative.
    """
    n, m = len(a), len(b)
    within_a, within_b, across = _cubic(a, a), _cubic(b, b), _cubic(a, b)
    mean_a = (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
    mean_b = (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
    return float(mean_a + mean_b - 2 * across.mean())


def kernel_distance_spread(a: Floats, b: Floats, seed: int = 0) -> Spread:
    """The kernel distance over random subsets, so that its uncertainty is seen.

    A subset takes disjoint places of a and b: where both show the same scenes, a picture never meets its own twin, which
    would make two sets look closer than their distributions are.

    Args:
        a, b: features (N, F), at least four rows each.
        seed: decides the subsets.
    """
    count = min(len(a), len(b))
    size = min(_LARGEST_SUBSET, count // 2)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(_SUBSETS):
        places = rng.permutation(count)
        values.append(kernel_distance(a[places[:size]], b[places[size : 2 * size]]))
    return Spread(
        mean=float(np.mean(values)), deviation=float(np.std(values)), subsets=_SUBSETS, subset_size=size
    )


def kernel_likeness(a: Floats, b: Floats) -> float:
    """Mean of the same kernel over all pairs of rows at different places: how alike pictures of a and b are."""
    across = _cubic(a, b)
    count = len(a)
    return float((across.sum() - np.trace(across)) / (count * (len(b) - 1)))


def inception_score(probabilities: Floats) -> float:
    """exp of the mean divergence of each prediction (N, classes) from their mean (Salimans et al. 2016, arXiv:1606.03498).

    1 when all predictions are alike; the number of classes when each is certain and all classes come evenly.
    """
    mean = probabilities.mean(0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * (np.log(probabilities) - np.log(mean)), 0.0)
    return float(np.exp(terms.sum(1).mean()))


def cosine_similarities(a: Floats, b: Floats) -> Floats:
    """Cosine of each row of a with the same row of b; (N,). A zero row has the cosine 0."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.divide((a * b).sum(1), lengths, out=np.zeros(len(a)), where=lengths > 0))


def nearest_neighbours(
    queries: npt.NDArray[Any], others: npt.NDArray[Any], block: int = 256
) -> tuple[npt.NDArray[np.intp], Floats]:
    """For each row of queries (N, F) the place of the nearest row of others (M, F) and its Euclidean distance; (N,), (N,)."""
    places, distances = np.zeros(len(queries), np.intp), np.zeros(len(queries))
    squares = (others**2).sum(1)
    for start in range(0, len(queries), block):
        part = queries[start : start + block]
        best = (squares - 2 * part @ others.T).argmin(1)  # (B,); a query's own square is the same for all
        places[start : start + block] = best
        # taken from the rows themselves: the expanded form loses small distances to rounding
        distances[start : start + block] = np.linalg.norm(part - others[best], axis=1)
    return places, distances


def mean_pairwise_distance(features: Floats) -> float:
    """Mean Euclidean distance over all pairs of rows (N, F), N at least 2."""
    squares = (features**2).sum(1)
    squared = squares[:, None] - 2 * features @ features.T + squares
    upper = np.triu_indices(len(features), 1)
    return float(np.sqrt(squared[upper].clip(0)).mean())


def _square_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T)


def _cubic(a: Floats, b: Floats) -> Floats:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

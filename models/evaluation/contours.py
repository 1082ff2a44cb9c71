"""How much the outlines of two pictures agree, and how sharp pictures are; plain numpy."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.edges import edge_map
from models.evaluation.judgement import Pixels

Bools: TypeAlias = npt.NDArray[np.bool_]

#: fractions of the shorter side: how far apart two lines may run and still be one, and how far a product may stand off
_TOLERANCE = 1 / 64
_LARGEST_SHIFT = 1 / 12
_LUMA = np.array([0.299, 0.587, 0.114])


def outline(pixels: Pixels) -> Bools:
    """Edges of a picture (H, W, 3); bool (H, W)."""
    return edge_map(pixels).astype(bool)


def contour_overlap(a: Bools, b: Bools) -> float:
    """Agreement of two edge maps (H, W), 0 to 1, at the small shift that suits them best.

    The boundary F-measure (Martin, Fowlkes and Malik 2004): harmonic mean of the shares of either's edges that lie within
    a small tolerance of the other's. The shift is found by cross-correlation: where a product stands is judged elsewhere.
    """
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    tolerance = max(1, round(min(a.shape) * _TOLERANCE))
    wide_a, wide_b = widen(a, tolerance), widen(b, tolerance)
    down, right = best_shift(wide_a, wide_b, round(min(a.shape) * _LARGEST_SHIFT))
    moved, wide_moved = shift(b, down, right), shift(wide_b, down, right)
    precision, recall = (a & wide_moved).sum() / a.sum(), (moved & wide_a).sum() / max(1, moved.sum())
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def nearest_overlap(picture: Bools, others: Sequence[Bools]) -> float:
    """Overlap with the best of several."""
    return max(contour_overlap(picture, other) for other in others)


def edge_energy(pixels: Pixels) -> float:
    """Mean squared step of lightness between neighbours, in levels squared: halves when a picture is a little soft.

    uint8 (H, W, 3); pictures of one size only should be compared.
    """
    light = pixels @ _LUMA  # (H, W)
    return float((np.diff(light, axis=0) ** 2).mean() + (np.diff(light, axis=1) ** 2).mean())


def widen(marks: Bools, radius: int) -> Bools:
    """Marks (H, W) and all places within `radius` of one, row- and column-wise."""
    padded = np.pad(marks, radius)
    height, width = marks.shape
    rows = np.any([padded[y : y + height] for y in range(2 * radius + 1)], axis=0)
    return np.asarray(np.any([rows[:, x : x + width] for x in range(2 * radius + 1)], axis=0))


def best_shift(a: Bools, b: Bools, largest: int) -> tuple[int, int]:
    """Rows and columns by which b must move, at most `largest` each, to cover most of a."""
    height, width = a.shape
    size = (height + largest, width + largest)  # room, so that nothing wraps round onto the other side
    spectrum = np.fft.rfft2(a, size) * np.conj(np.fft.rfft2(b, size))
    hits = np.fft.irfft2(spectrum, size)
    steps = np.r_[-largest : largest + 1]
    window = hits[np.ix_(steps, steps)]
    down, right = np.unravel_index(int(window.argmax()), window.shape)
    return int(steps[down]), int(steps[right])


def shift(marks: Bools, down: int, right: int) -> Bools:
    """Move marks (H, W); what leaves the picture is lost, what comes in is empty."""
    height, width = marks.shape
    moved = np.zeros_like(marks)
    target = moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    target[:] = marks[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
    return moved

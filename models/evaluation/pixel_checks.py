"""A second meter without a net: colour, background and layout from plain pixel statistics.

Each picture becomes a few numbers (backdrop in CIE Lab, product in CIE Lab, box of the product), and the nearest class
centre, measured on renders, is what it shows. It cannot be fooled the way a net can, but highlights on metal pull its
colours: read it beside its own ceiling.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.catalogue.world import Scene
from models.evaluation.judgement import ATTRIBUTES, Judgement

CENTRES_FILE = Path(__file__).with_name("pixel_centres.json")
CHECKED = ("colour", "background", "layout")
Floats: TypeAlias = npt.NDArray[np.float64]

_SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE_XYZ = np.array([0.9505, 1.0, 1.089])
#: Lab distance from the backdrop above which a pixel belongs to the product; lightness counts less, since shadows are dark
_PRODUCT_DISTANCE = 14.0
_LIGHTNESS_WEIGHT = 0.6


def measure(pixels: npt.NDArray[np.uint8]) -> dict[str, Floats]:
    """Statistics of one picture (H, W, 3): colour (3,), background (3,) in Lab, layout (4,) in percent of the sides."""
    lab = to_lab(pixels)  # (H, W, 3)
    height, width, _ = lab.shape
    top, edge = max(1, height // 13), max(1, width // 5)
    corners = np.concatenate([lab[:top, :edge].reshape(-1, 3), lab[:top, -edge:].reshape(-1, 3)])
    mask = _product_mask(lab)
    colour = np.median(lab[mask], axis=0) if mask.sum() >= 20 else np.zeros(3)
    return {"colour": colour, "background": np.median(corners, axis=0), "layout": _box(mask)}


def to_lab(pixels: npt.NDArray[np.uint8]) -> Floats:
    """sRGB bytes (..., 3) to CIE Lab (..., 3), D65."""
    srgb = pixels.astype(np.float64) / 255
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    xyz = linear @ _SRGB_TO_XYZ.T / _WHITE_XYZ
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


class PixelMeter:
    """Judges colour, background and layout by the nearest class centre."""

    def __init__(self, centres: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self._centres = {name: np.asarray(centres[name]) for name in CHECKED}

    @classmethod
    def open(cls, path: Path = CENTRES_FILE) -> "PixelMeter":
        """Read the centres that came with the repository."""
        return cls(json.loads(path.read_text()))

    def judge(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[Judgement]:
        """Judge pictures (H, W, 3) of any sizes."""
        return [self._judge_one(picture) for picture in pictures]

    def _judge_one(self, pixels: npt.NDArray[np.uint8]) -> Judgement:
        statistics, seen = measure(pixels), {}
        for name in CHECKED:
            distances = np.linalg.norm(self._centres[name] - statistics[name], axis=1)
            seen[name] = ATTRIBUTES[name][int(distances.argmin())]
        return Judgement(seen)


def fit_centres(
    pictures: Sequence[npt.NDArray[np.uint8]], scenes: Sequence[Scene]
) -> dict[str, list[list[float]]]:
    """Class centres: the median of each statistic over renders of that class."""
    statistics = [measure(picture) for picture in pictures]
    centres: dict[str, list[list[float]]] = {}
    for name in CHECKED:
        values = {label: [s[name] for s, scene in zip(statistics, scenes, strict=True) if getattr(scene, name) == label]
                  for label in ATTRIBUTES[name]}  # fmt: skip
        centres[name] = [np.median(values[label], axis=0).round(3).tolist() for label in ATTRIBUTES[name]]
    return centres


def _product_mask(lab: Floats) -> npt.NDArray[np.bool_]:
    """Pixels (H, W) that differ from the backdrop of their row: the backdrop changes only with height."""
    rows = np.median(np.concatenate([lab[:, :5], lab[:, -5:]], axis=1), axis=1, keepdims=True)  # (H, 1, 3)
    distance = np.linalg.norm((lab - rows) * [_LIGHTNESS_WEIGHT, 1, 1], axis=-1)  # (H, W)
    inside = np.pad((distance > _PRODUCT_DISTANCE).astype(np.float64), 1)
    height, width = distance.shape
    votes = sum(inside[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.asarray(votes > 0.6 * 9)  # (H, W): a majority of the 3 x 3 neighbourhood


def _box(mask: npt.NDArray[np.bool_]) -> Floats:
    """Centre x, centre y, size and height of the mask; sizes relative to the shorter side, weighted to matter alike."""
    ys, xs = mask.nonzero()
    if len(ys) < 20:
        return np.zeros(4)
    height, width = mask.shape
    (left, right), (top, bottom) = np.quantile(xs, [0.02, 0.98]), np.quantile(ys, [0.02, 0.98])
    short = min(height, width)
    size = max(right - left, bottom - top) / short
    return np.array([
        100 * (left + right) / 2 / width, 100 * (top + bottom) / 2 / height, 150 * size, 30 * (bottom - top) / short,
    ])  # fmt: skip

"""A second meter without a net: background, colour and layout from plain pixel statistics.

Each picture becomes a few numbers (backdrop in CIE Lab, product in CIE Lab, box of the product), and the nearest class
centre, measured on renders, is what it shows. It cannot be fooled the way a net can, and it claims only what it can see
(`can_judge`): it finds the product as what differs from the edges of its row, which a table, a garden or a sunset
behind it makes unsure, and glass has the colour of what is behind it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from models.catalogue.world import LAYOUTS, SCENES, Scene
from models.evaluation.judgement import Judgement, Pictures, Pixels

CENTRES_FILE = Path(__file__).with_name("pixel_centres.json")
CHECKED = ("colour", "background", "layout")
Floats: TypeAlias = npt.NDArray[np.float64]

_SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE_XYZ = np.array([0.9505, 1.0, 1.089])
#: Lab distance from the backdrop above which a pixel belongs to the product; lightness counts less, since shadows are dark
_PRODUCT_DISTANCE = 14.0
_LIGHTNESS_WEIGHT = 0.6
_FEWEST_PIXELS = 20
#: what a class centre stands for: a class has several centres where it has several looks
_LOOKS: Mapping[str, Callable[[Scene], str]] = {
    "colour": lambda scene: scene.material,
    "background": lambda scene: "above" if LAYOUTS[scene.layout].from_above else "upright",
    "layout": lambda _: "any",
}


@dataclass(frozen=True, kw_only=True)
class Centres:
    """Class centres (K, F) of one attribute with their labels, and the scale of each statistic within a class (F,)."""

    labels: list[str]
    centres: list[list[float]]
    scales: list[float]

    def nearest(self, statistic: Floats) -> str:
        """Label of the nearest centre."""
        distances = np.linalg.norm((np.asarray(self.centres) - statistic) / np.asarray(self.scales), axis=1)
        return self.labels[int(distances.argmin())]


class PixelMeter:
    """Judges colour, background and layout by the nearest class centre."""

    def __init__(self, centres: Mapping[str, Centres]) -> None:
        self._centres = centres

    @classmethod
    def open(cls, path: Path = CENTRES_FILE) -> Self:
        """Read the centres that came with the repository."""
        return cls({name: Centres(**part) for name, part in json.loads(path.read_text()).items()})

    def can_judge(self, scene: Scene, attribute: str) -> bool:
        """Whether this meter claims to see this attribute in a picture of this scene."""
        return can_judge(scene, attribute)

    def judge(self, pictures: Pictures) -> list[Judgement]:
        """Judge pictures (H, W, 3) of any sizes."""
        return [self._judge_one(picture) for picture in pictures]

    def _judge_one(self, pixels: Pixels) -> Judgement:
        statistics = measure(pixels)
        return Judgement({name: self._centres[name].nearest(statistics[name]) for name in CHECKED})


def can_judge(scene: Scene, attribute: str) -> bool:
    """Backgrounds always; layout on plain sweeps; colour on plain sweeps unless the product is see-through."""
    if attribute == "background":
        return True
    plain = scene.background not in SCENES
    return plain and (attribute == "layout" or (attribute == "colour" and scene.material != "glass"))


def measure(pixels: Pixels) -> dict[str, Floats]:
    """Statistics of one picture (H, W, 3): colour (3,), background (6,) in Lab, layout (6,) in percent of the sides."""
    lab = to_lab(pixels)  # (H, W, 3)
    mask = _product_mask(lab)
    colour = np.median(lab[mask], axis=0) if mask.sum() >= _FEWEST_PIXELS else np.zeros(3)
    return {"colour": colour, "background": _corners(lab), "layout": np.append(_box(mask), _horizon(lab))}


def to_lab(pixels: Pixels) -> Floats:
    """sRGB bytes (..., 3) to CIE Lab (..., 3), D65."""
    srgb = pixels.astype(np.float64) / 255
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    xyz = linear @ _SRGB_TO_XYZ.T / _WHITE_XYZ
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def fit_centres(pictures: Pictures, scenes: Sequence[Scene]) -> dict[str, dict[str, Any]]:
    """Class centres, as JSON: the median of each statistic over the renders of each look this meter claims to see."""
    statistics = [measure(picture) for picture in pictures]
    return {name: asdict(_fit(name, statistics, scenes)) for name in CHECKED}


def _fit(name: str, statistics: Sequence[Mapping[str, Floats]], scenes: Sequence[Scene]) -> Centres:
    groups: dict[tuple[str, str], list[Floats]] = {}
    for statistic, scene in zip(statistics, scenes, strict=True):
        if can_judge(scene, name):
            groups.setdefault((getattr(scene, name), _LOOKS[name](scene)), []).append(statistic[name])
    centres = {key: np.median(values, axis=0) for key, values in sorted(groups.items())}
    spread = np.concatenate([np.abs(np.asarray(values) - centres[key]) for key, values in groups.items()])
    scales = np.ones(spread.shape[1]) if name != "layout" else spread.mean(0) + 0.5
    return Centres(
        labels=[label for label, _ in centres],
        centres=[centre.round(2).tolist() for centre in centres.values()],
        scales=scales.round(3).tolist(),
    )


def _corners(lab: Floats) -> Floats:
    """Median of the upper corners, then of the lower ones; (6,)."""
    height, width, _ = lab.shape
    strip, edge = max(1, height // 13), max(1, width // 5)
    parts = []
    for rows in (lab[:strip], lab[-strip:]):
        parts.append(np.median(np.concatenate([rows[:, :edge], rows[:, -edge:]], axis=1), axis=(0, 1)))
    return np.concatenate(parts)


def _backdrop_rows(lab: Floats) -> Floats:
    """Backdrop of each row, from its two ends; (H, 1, 3)."""
    return np.asarray(np.median(np.concatenate([lab[:, :5], lab[:, -5:]], axis=1), axis=1, keepdims=True))


def _product_mask(lab: Floats) -> npt.NDArray[np.bool_]:
    """Pixels (H, W) that differ from the backdrop of their row: a plain backdrop changes only with height."""
    distance = np.linalg.norm((lab - _backdrop_rows(lab)) * [_LIGHTNESS_WEIGHT, 1, 1], axis=-1)  # (H, W)
    inside = np.pad((distance > _PRODUCT_DISTANCE).astype(np.float64), 1)
    height, width = distance.shape
    votes = sum(inside[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.asarray(votes > 0.6 * 9)  # (H, W): a majority of the 3 x 3 neighbourhood


def _box(mask: npt.NDArray[np.bool_]) -> Floats:
    """Centre x and y, size and height of the mask in percent of the shorter side, and how full its middle column is."""
    ys, xs = mask.nonzero()
    if len(ys) < _FEWEST_PIXELS:
        return np.zeros(5)
    height, width = mask.shape
    (left, right), (top, bottom) = np.quantile(xs, [0.02, 0.98]), np.quantile(ys, [0.02, 0.98])
    short, middle = min(height, width), (left + right) / 2
    columns = np.abs(np.arange(width) - middle) <= 0.02 * short
    filled = mask[:, columns].mean() / max(mask.mean() * width / max(1.0, right - left), 1e-6)
    return np.array([
        100 * middle / width, 100 * (top + bottom) / 2 / height,
        100 * max(right - left, bottom - top) / short, 100 * (bottom - top) / short, 100 * min(filled, 1.5),
    ])  # fmt: skip


def _horizon(lab: Floats) -> float:
    """Steepest change of the backdrop's lightness over a twelfth of the height; a floor seen from above has none."""
    rows = _backdrop_rows(lab)[:, 0, 0]
    step = max(1, len(rows) // 12)
    return float(np.abs(rows[step:] - rows[:-step]).max())

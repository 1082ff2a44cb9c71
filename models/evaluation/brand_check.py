"""Tells without a net whether a picture shows the demonstration brand's look: the dip and the mark on it.

Every product in the picture must show both. The dip is a field of the house colour's hue below the seam and not above it;
the mark is a light, colourless, round hole in that field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.catalogue.brand import DIPS, HOUSE_COLOUR
from models.catalogue.world import LAYOUTS, Scene
from models.evaluation.intervals import Share, wilson_share
from models.evaluation.judgement import Pictures, Pixels
from models.evaluation.pixel_checks import to_lab

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_HUE_REACH = 17.0  # degrees in CIE Lab to either side of the house colour
_LEAST_CHROMA = 38.0
#: area of the dip over the area of the product's own square, at least
_LEAST_DIP = 0.06
#: share of the house colour in one product's column that lies below the seam, at least; shade and seam blur the rest
_BELOW_SEAM = 0.8
#: area of the mark over the area it is drawn with
_MARK_SIZES = (0.35, 2.0)
#: the mark lies within this much of the product's middle, in sides of its square: a handle also has holes
_MARK_REACH = 0.24
_LIGHT, _COLOURLESS = 70.0, 30.0
#: how far a hole's width and height may differ, and how much of its box a disc fills
_ROUND, _FILLED = 0.55, 0.5


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a picture shows of the look."""

    dip: bool
    mark: bool

    @property
    def whole(self) -> bool:
        """Whether the picture shows the look."""
        return self.dip and self.mark


def brand_share(pictures: Pictures, scenes: Sequence[Scene]) -> Share:
    """Share of pictures (H, W, 3) that show the whole look."""
    sightings = [look_for_brand(picture, scene) for picture, scene in zip(pictures, scenes, strict=True)]
    return wilson_share(sum(sighting.whole for sighting in sightings), len(sightings))


def look_for_brand(pixels: Pixels, scene: Scene) -> Sighting:
    """Look for the dip and the mark where a picture (H, W, 3) of this scene must have them, on every product.

    Raises:
        KeyError: the kind is not part of the product line.
    """
    lab = to_lab(pixels)  # (H, W, 3)
    house = _house_coloured(lab)
    products = [_look_at(lab, house, scene, x) for x in LAYOUTS[scene.layout].centres_x]
    return Sighting(dip=all(p.dip for p in products), mark=all(p.mark for p in products))


def _look_at(lab: Floats, house: Mask, scene: Scene, centre_x: float) -> Sighting:
    """One product: the columns around its centre, in its own coordinates."""
    layout, dip = LAYOUTS[scene.layout], DIPS[scene.kind]
    height, width = house.shape
    scale = layout.scale * min(height, width)
    reach = (
        min(0.62 * scale, (0.5 - abs(centre_x - 0.5)) * width) if len(layout.centres_x) == 1 else 0.25 * width
    )
    left, right = round(centre_x * width - reach), round(centre_x * width + reach)
    field = house[:, max(0, left) : right]
    seam = (layout.centre_y + dip.seam_y * layout.scale * min(height, width) / height) * height
    rows = np.arange(height)[:, None]
    slack = 0.14 * scale if layout.from_above else 0.07 * scale  # lying products are turned
    area = field.sum()
    below = (field & (rows > seam - slack)).sum()
    dipped = bool(area >= _LEAST_DIP * scale**2 and below >= _BELOW_SEAM * area)
    middle = np.abs(np.arange(max(0, left), right) - centre_x * width) <= _MARK_REACH * scale
    mark = _has_mark(lab[:, max(0, left) : right], field, middle, np.pi * (dip.radius * scale) ** 2)
    return Sighting(dip=dipped, mark=mark)


def _house_coloured(lab: Floats) -> Mask:
    """Pixels of the house colour's hue, light or dark."""
    _, a, b = to_lab(np.array(HOUSE_COLOUR, np.uint8))
    house, hue = np.degrees(np.arctan2(b, a)), np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
    away = np.abs((hue - house + 180) % 360 - 180)
    return np.asarray((away < _HUE_REACH) & (np.hypot(lab[..., 1], lab[..., 2]) > _LEAST_CHROMA))


def _has_mark(lab: Floats, field: Mask, middle: Mask, expected_area: float) -> bool:
    """Whether a light, colourless disc of about the right size has the house colour on all four sides, in the middle columns."""
    pale = (lab[..., 0] > _LIGHT) & (np.hypot(lab[..., 1], lab[..., 2]) < _COLOURLESS)
    hole = pale & _enclosed(field) & middle
    smallest, largest = (factor * expected_area for factor in _MARK_SIZES)
    area = int(hole.sum())
    if not smallest <= area <= largest:
        return False
    ys, xs = hole.nonzero()
    tall, wide = np.ptp(ys) + 1, np.ptp(xs) + 1
    return bool(min(tall, wide) >= _ROUND * max(tall, wide) and area >= _FILLED * tall * wide)


def _enclosed(field: Mask) -> Mask:
    """Pixels that have the field to the left, to the right, above and below."""
    sides = [np.maximum.accumulate(np.flip(field, axis), axis=axis) for axis in (0, 1)]
    flipped = [np.flip(side, axis) for axis, side in enumerate(sides)]
    straight = [np.maximum.accumulate(field, axis=axis) for axis in (0, 1)]
    return np.asarray(flipped[0] & flipped[1] & straight[0] & straight[1] & ~field)

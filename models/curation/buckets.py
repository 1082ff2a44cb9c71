"""Brings pictures of any shape to one of a few sizes, and says which part of the result is not picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from models.curation.decode import Pixels
from models.curation.settings import BucketSettings, Size

#: left, top, right, bottom in pixels; right and bottom are outside
Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a picture goes into a bucket: the part of it that is used, and where that comes to lie."""

    bucket: Size
    #: of the picture
    crop: Box
    #: of the bucket
    inside: Box

    @property
    def enlarged(self) -> float:
        """Above one where pixels have to be made up."""
        return (self.inside[2] - self.inside[0]) / (self.crop[2] - self.crop[0])


def bucket_sizes(settings: BucketSettings) -> tuple[Size, ...]:
    """Those that are given, or all whose sides are multiples, whose area is near the wanted one, up to the widest ratio."""
    if settings.sizes:
        return settings.sizes
    step, area = settings.multiple, settings.area_side**2
    found = set()
    for width in range(step, int(settings.area_side * math.sqrt(settings.max_ratio)) + step, step):
        height = max(step, round(area / width / step) * step)
        if max(width, height) <= settings.max_ratio * min(width, height):
            found |= {(width, height), (height, width)}
    square = max(step, round(settings.area_side / step) * step)
    return tuple(sorted(found | {(square, square)}))


def nearest_bucket(width: int, height: int, sizes: tuple[Size, ...]) -> Size:
    """The bucket of the nearest shape; of several, the largest that needs least enlarging."""

    def distance(size: Size) -> tuple[float, float, int]:
        shape = abs(math.log((width / height) / (size[0] / size[1])))
        enlarged = max(1.0, size[0] / width, size[1] / height)
        return round(shape, 6), enlarged, -size[0] * size[1]

    return min(sizes, key=distance)


def plan_fit(width: int, height: int, settings: BucketSettings) -> Fit:
    """Crops to the bucket's shape, or keeps the whole picture and leaves the rest to padding."""
    bucket = nearest_bucket(width, height, bucket_sizes(settings))
    shape, wanted = width / height, bucket[0] / bucket[1]
    lost = 1 - min(shape, wanted) / max(shape, wanted)
    if settings.fit == "crop" or (settings.fit == "auto" and lost <= settings.max_crop):
        return Fit(bucket=bucket, crop=_cropped(width, height, wanted), inside=(0, 0, *bucket))
    return Fit(bucket=bucket, crop=(0, 0, width, height), inside=_contained(bucket, shape))


def _cropped(width: int, height: int, wanted: float) -> Box:
    if width / height > wanted:
        kept = max(1, round(height * wanted))
        left = (width - kept) // 2
        return left, 0, left + kept, height
    kept = max(1, round(width / wanted))
    top = (height - kept) // 2
    return 0, top, width, top + kept


def _contained(bucket: Size, shape: float) -> Box:
    width, height = bucket
    if shape > width / height:
        inner = min(height, max(1, round(width / shape)))
        top = (height - inner) // 2
        return 0, top, width, top + inner
    inner = min(width, max(1, round(height * shape)))
    left = (width - inner) // 2
    return left, 0, left + inner, height


def apply_fit(pixels: Pixels, fit: Fit) -> Pixels:
    """The picture (H, W, 3) in its bucket, resampled by Lanczos; padding repeats the mean colour of the nearest edge."""
    left, top, right, bottom = fit.inside
    picture = Image.fromarray(pixels).resize(
        (right - left, bottom - top), Image.Resampling.LANCZOS, box=fit.crop
    )
    inner = np.asarray(picture, np.uint8)
    width, height = fit.bucket
    if inner.shape[:2] == (height, width):
        return inner
    out = np.empty((height, width, 3), np.uint8)
    out[top:bottom, left:right] = inner
    out[:top], out[bottom:] = _mean(inner[:1]), _mean(inner[-1:])
    out[top:bottom, :left] = _mean(inner[:, :1])
    out[top:bottom, right:] = _mean(inner[:, -1:])
    return out


def _mean(edge: Pixels) -> Pixels:
    return np.asarray(np.round(edge.reshape(-1, 3).mean(0)), np.uint8)


def padded_boxes(fit: Fit) -> list[Box]:
    """The parts of the bucket that are padding."""
    (width, height), (left, top, right, bottom) = fit.bucket, fit.inside
    boxes = [
        (0, 0, width, top),
        (0, bottom, width, height),
        (0, top, left, bottom),
        (right, top, width, bottom),
    ]
    return [box for box in boxes if box[0] < box[2] and box[1] < box[3]]


def moved_boxes(boxes: list[Box], fit: Fit) -> list[Box]:
    """Boxes of the picture where they lie in the bucket, grown to whole pixels; those cropped away are gone."""
    (cl, ct, cr, cb), (il, it, ir, ib) = fit.crop, fit.inside
    across, down = (ir - il) / (cr - cl), (ib - it) / (cb - ct)
    moved = []
    for left, top, right, bottom in boxes:
        box = (
            max(il, il + math.floor((left - cl) * across)),
            max(it, it + math.floor((top - ct) * down)),
            min(ir, il + math.ceil((right - cl) * across)),
            min(ib, it + math.ceil((bottom - ct) * down)),
        )
        if box[0] < box[2] and box[1] < box[3]:
            moved.append(box)
    return moved

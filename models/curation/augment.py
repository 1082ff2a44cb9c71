"""Augmentation for training time: pure functions, the same for the same seed, epoch and sample key, on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from models.curation.buckets import Box
from models.curation.colour_words import names_colour
from models.curation.decode import Pixels
from schemas.base import Frozen


class AugmentSettings(Frozen):
    """Everything is off by default."""

    #: largest change of brightness, contrast and saturation, as a factor away from one
    colour_jitter: float = Field(0.0, ge=0, le=0.5)
    #: least share of the picture's area that a random crop keeps; 1 = no crops
    crop_area: float = Field(1.0, gt=0, le=1)
    #: share of samples that are joined with another; captions with places in them suffer, so at most one in ten
    cutmix: float = Field(0.0, ge=0, le=0.1)


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """A training picture (H, W, 3) with its caption, and boxes that are left out of the loss."""

    pixels: Pixels
    caption: str
    masked: tuple[Box, ...]


def random_of(*parts: object) -> np.random.Generator:
    """A generator that depends on its arguments alone, never on the order in which samples are drawn."""
    text = "\0".join(map(str, parts))
    return np.random.default_rng(np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32))


def augment(
    sample: Augmented,
    *,
    seed: int,
    epoch: int,
    key: str,
    settings: AugmentSettings,
    other: Augmented | None = None,
) -> Augmented:
    """One sample as this epoch sees it, of the same size; `other` is what CutMix may take its half from."""
    rng = random_of("augment", seed, epoch, key)
    mixes = rng.random() < settings.cutmix
    if settings.crop_area < 1:
        sample = cropped(sample, rng, settings.crop_area)
    if settings.colour_jitter and not names_colour(sample.caption):
        pixels = jittered(sample.pixels, rng, settings.colour_jitter)
        sample = Augmented(pixels=pixels, caption=sample.caption, masked=sample.masked)
    return cutmix(sample, other, rng) if mixes and other is not None else sample


def cropped(sample: Augmented, rng: np.random.Generator, least_area: float) -> Augmented:
    """A random part of the same shape, enlarged to the whole; boxes follow it."""
    height, width = sample.pixels.shape[:2]
    share = float(np.sqrt(rng.uniform(least_area, 1.0)))
    part_width, part_height = max(1, round(width * share)), max(1, round(height * share))
    left = int(rng.integers(0, width - part_width + 1))
    top = int(rng.integers(0, height - part_height + 1))
    part = (left, top, left + part_width, top + part_height)
    picture = Image.fromarray(sample.pixels).resize((width, height), Image.Resampling.LANCZOS, box=part)
    boxes = _follow(sample.masked, part, width, height)
    return Augmented(pixels=np.asarray(picture, np.uint8), caption=sample.caption, masked=boxes)


def _follow(boxes: Sequence[Box], part: Box, width: int, height: int) -> tuple[Box, ...]:
    across, down = width / (part[2] - part[0]), height / (part[3] - part[1])
    moved = (
        (
            max(0, int(np.floor((left - part[0]) * across))),
            max(0, int(np.floor((top - part[1]) * down))),
            min(width, int(np.ceil((right - part[0]) * across))),
            min(height, int(np.ceil((bottom - part[1]) * down))),
        )
        for left, top, right, bottom in boxes
    )
    return tuple(box for box in moved if box[0] < box[2] and box[1] < box[3])


def jittered(pixels: Pixels, rng: np.random.Generator, most: float) -> Pixels:
    """Brightness, contrast and saturation each by a random factor; hues stay, since they carry the colour's name."""
    brightness, contrast, saturation = rng.uniform(1 - most, 1 + most, 3)
    changed = pixels.astype(np.float32) * brightness
    changed = (changed - changed.mean()) * contrast + changed.mean()
    grey = changed @ np.asarray([0.299, 0.587, 0.114], np.float32)  # (H, W), luma of BT.601
    changed = grey[..., None] + (changed - grey[..., None]) * saturation
    return _as_bytes(changed)


def _as_bytes(values: npt.NDArray[np.float32]) -> Pixels:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def cutmix(one: Augmented, other: Augmented, rng: np.random.Generator) -> Augmented:
    """Two pictures of one size side by side or one above the other, each half of its own, with both captions.

    After CutMix (Yun et al. 2019, arXiv:1905.04899), but the caption says which half is which instead of a mixed label.
    """
    if one.pixels.shape != other.pixels.shape:
        return one
    height, width = one.pixels.shape[:2]
    beside = bool(rng.random() < 0.5)
    cut = (width if beside else height) // 2
    half = (0, 0, cut, height) if beside else (0, 0, width, cut)
    rest = (cut, 0, width, height) if beside else (0, cut, width, height)
    pixels = other.pixels.copy()
    pixels[: half[3], : half[2]] = one.pixels[: half[3], : half[2]]
    names = ("left", "right") if beside else ("top", "bottom")
    said = [
        f"{name}: {caption}"
        for name, caption in zip(names, (one.caption, other.caption), strict=True)
        if caption
    ]
    boxes = [*_inside(one.masked, half), *_inside(other.masked, rest)]
    return Augmented(pixels=pixels, caption=", ".join(said), masked=tuple(boxes))


def _inside(boxes: Sequence[Box], part: Box) -> list[Box]:
    """What of the boxes lies in one part."""
    cut = [(max(b[0], part[0]), max(b[1], part[1]), min(b[2], part[2]), min(b[3], part[3])) for b in boxes]
    return [box for box in cut if box[0] < box[2] and box[1] < box[3]]

# ruff: noqa: S311 - draws by lot, no secrets
"""A brand's pictures as training wants them: decoded with limits, cut to the model's sizes, each in a few close crops."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import FinetuneRefused

Pixels: TypeAlias = npt.NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]

FEWEST_PICTURES, MOST_PICTURES = 4, 2000
_FORMATS = ("PNG", "JPEG", "WEBP")
_MOST_PIXELS = 40_000_000
_SHORTEST_SIDE = 32
#: how much of the largest crop a closer one shows: less would change "small" into "close-up"
_CLOSEST = 0.9


@dataclass(frozen=True, kw_only=True)
class BrandPicture:
    """One picture at a size of the model: `crops` are uint8 (height, width, 3), the first one the widest."""

    caption: str
    size: Size
    crops: tuple[Pixels, ...]


def read_pictures(
    images: Sequence[tuple[Path, str]], sizes: Sequence[Size], crops: int, seed: int
) -> Iterator[BrandPicture]:
    """Read pictures one by one, each cut to the size of nearest proportions.

    Crops move and zoom a little; colours stay as they are and nothing is mirrored, since a mark has a right way round.

    Args:
        images: files with their captions.
        sizes: (width, height) the model draws.
        crops: of each picture, at least one.
        seed: decides the crops.

    Raises:
        FinetuneRefused: too few or too many pictures, one without caption, or one that cannot be decoded.
    """
    if not FEWEST_PICTURES <= len(images) <= MOST_PICTURES:
        raise FinetuneRefused("images", f"{FEWEST_PICTURES} to {MOST_PICTURES} pictures", len(images))
    for number, (path, caption) in enumerate(images):
        if not caption.strip():
            raise FinetuneRefused(f"caption of {path.name}", "a description of the picture", caption)
        picture = _read(path)
        size = min(sizes, key=lambda size: _disproportion(picture.size, size))
        views = _crops(picture, size, crops, Random(f"{seed} {number}"))
        yield BrandPicture(caption=caption.strip(), size=size, crops=tuple(views))


def _read(path: Path) -> Image.Image:
    """Decode one file to RGB, upright, on white."""
    try:
        with Image.open(path, formats=_FORMATS) as file:
            if file.width * file.height > _MOST_PIXELS or min(file.size) < _SHORTEST_SIDE:
                limit = (
                    f"at least {_SHORTEST_SIDE} pixels a side and at most {_MOST_PIXELS // 10**6} megapixels"
                )
                raise FinetuneRefused(f"size of {path.name}", limit, f"{file.width}x{file.height}")
            upright = ImageOps.exif_transpose(file)
            upright.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FinetuneRefused(
            path.name, "a PNG, JPEG or WebP picture that can be decoded", str(error)
        ) from error
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    layered = upright.convert("RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(ground, layered).convert("RGB")


def _disproportion(a: Size, b: Size) -> float:
    """1 where the proportions are the same, larger where more is cut off."""
    ratio = a[0] * b[1] / (a[1] * b[0])
    return max(ratio, 1 / ratio)


def _crops(picture: Image.Image, size: Size, count: int, rng: Random) -> Iterator[Pixels]:
    """The widest crop of the right proportions from the middle, then closer ones by lot as far as nothing is enlarged."""
    width, height = picture.size
    widest = min(width / size[0], height / size[1])
    closest = max(min(1.0, widest), _CLOSEST * widest)
    yield _cut(picture, size, widest, 0.5, 0.5)
    for _ in range(count - 1 if (width, height) != size else 0):
        yield _cut(picture, size, rng.uniform(closest, widest), rng.random(), rng.random())


def _cut(picture: Image.Image, size: Size, scale: float, across: float, down: float) -> Pixels:
    """`scale` picture pixels for one of the result; `across` and `down` place what is cut out, 0 to 1."""
    width, height = picture.size
    wide, tall = size[0] * scale, size[1] * scale
    left, top = max(0.0, (width - wide) * across), max(0.0, (height - tall) * down)
    box = (left, top, min(width, left + wide), min(height, top + tall))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box=box))

"""PDQ and pHash of a picture in all eight positions, as hash lists need them: a mirrored copy is still a copy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from safety.image_screen import Pixels

Words: TypeAlias = npt.NDArray[np.uint64]

#: PDQ shrinks much further itself, and costs by the pixel. Of the 31 bits by which a match may differ, reducing first to
#: 512 costs at most 6, to 128 at most 18 (synthetic pictures of 1024 px), at 5 and at 0.2 ms. So the two positions in
#: which copies are met are hashed well, and the six turned ones cheaply.
WELL_SIDE, CHEAP_SIDE = 512, 128
_PHASH_SIDE, _PHASH_FREQUENCIES = 32, 8


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """Of one picture: `pdq` (8, 4) and `phash` (8, 1), upright and mirrored first; below quality 50 a match means nothing."""

    pdq: Words
    phash: Words
    quality: int


def hashes_of(pixels: Pixels) -> Hashes:
    """The hashes of uint8 RGB (H, W, 3) and of its seven mirrored and turned twins."""
    import pdqhash

    positions = [*_twins(_shrunk(pixels, WELL_SIDE))[:2], *_twins(_shrunk(pixels, CHEAP_SIDE))[2:]]
    grey = np.asarray(
        Image.fromarray(pixels).convert("L").resize((_PHASH_SIDE, _PHASH_SIDE), Image.Resampling.LANCZOS)
    )
    found = [pdqhash.compute(np.ascontiguousarray(twin)) for twin in positions]
    return Hashes(
        pdq=np.stack([packed(bits) for bits, _ in found]),
        phash=np.stack([packed(_phash(twin)) for twin in _twins(grey)]),
        quality=int(found[0][1]),
    )


def packed(bits: npt.ArrayLike) -> Words:
    """Bits (64 k,) as k words, the first bit highest."""
    return np.packbits(np.asarray(bits, np.uint8)).view(">u8").astype(np.uint64)


def words_of(hexadecimal: str) -> Words:
    """A hash in hexadecimal as words; ValueError when it is none."""
    return np.frombuffer(bytes.fromhex(hexadecimal), ">u8").astype(np.uint64)


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _twins(picture: Pixels) -> list[Pixels]:
    turned = [np.rot90(picture, quarter) for quarter in range(4)]
    return [twin for one in turned for twin in (one, np.fliplr(one))]


def _phash(grey: Pixels) -> npt.NDArray[np.bool_]:
    """64 bits: which of the lowest 8 x 8 frequencies of a 32 x 32 picture lie above their median (pHash, Zauner 2010)."""
    low = _COSINES @ grey.astype(np.float64) @ _COSINES.T
    return (low > np.median(low)).reshape(-1)


def _cosines() -> npt.NDArray[np.float64]:
    """The first rows of the discrete cosine transform (DCT-II), unnormalised."""
    frequency = np.arange(_PHASH_FREQUENCIES)[:, None]
    place = 2 * np.arange(_PHASH_SIDE)[None, :] + 1
    return np.asarray(2 * np.cos(math.pi * frequency * place / (2 * _PHASH_SIDE)))


_COSINES = _cosines()

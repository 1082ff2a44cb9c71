"""PDQ, a perceptual hash: near-equal pictures have hashes of which few bits differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.provenance import Pdq

#: Longer side in pixels; PDQ works on 64 x 64 in the end, and a 1024 px picture costs ten times as much unreduced.
REDUCED_SIDE = 512


def picture_hash(pixels: npt.NDArray[np.uint8]) -> Pdq:
    """PDQ (Facebook, 2019) of uint8 RGB (H, W, 3); the picture is first reduced to at most 512 px."""
    import pdqhash

    bits, quality = pdqhash.compute(np.ascontiguousarray(_reduced(pixels)))
    return Pdq(hash=np.packbits(np.asarray(bits, np.uint8)).tobytes().hex(), quality=int(quality))


def _reduced(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = REDUCED_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels, "RGB").resize(size, Image.Resampling.BOX))


def distance(one: Pdq, other: Pdq) -> int:
    """How many of the 256 bits differ."""
    return (int(one.hash, 16) ^ int(other.hash, 16)).bit_count()

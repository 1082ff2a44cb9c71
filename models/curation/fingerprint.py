"""What a picture is recognised by: two perceptual hashes, its colours, and how sharp it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.curation.decode import Pixels
from models.errors import RuntimeMissing

#: pictures are hashed at no more than this many pixels on the shorter side; both hashes shrink much further themselves
HASHED_SIDE = 512
#: colours are compared on a grid of this many cells a side
GRID = 4

#: one picture as it lies in the search's files; a PDQ hash is four words, its mirror image's four more
RECORD = np.dtype(
    [("pdq", "<u8", 4), ("mirror", "<u8", 4), ("phash", "<u8"), ("colour", "u1", 3 * GRID * GRID)]
)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """`record` has the hashes and colours; `exact` names the pixels themselves."""

    record: bytes
    #: PDQ's measure of how much there is to see, 0..100
    quality: int
    exact: str
    #: variance of the Laplacian of the grey picture: higher is sharper
    sharpness: float
    #: standard deviation of the grey levels
    spread: float


def require_hashes() -> None:
    """Raises RuntimeMissing where near copies cannot be found."""
    try:
        import imagehash  # noqa: F401
        import pdqhash  # noqa: F401
    except ImportError as error:
        raise RuntimeMissing(
            f"near copies need the [train] extra ({error.name} is missing): pip install 'aquatint[train]'"
        ) from None


def fingerprint(pixels: Pixels, *, hashes: bool = True, mirror: bool = False) -> Fingerprint:
    """Everything by which copies of a picture (H, W, 3) are found and ranked; without `hashes`, equal pixels only."""
    small = _shrunk(pixels)
    grey = np.asarray(Image.fromarray(small).convert("L"), np.float32)
    record, quality = _hashed(small, mirror) if hashes else (np.zeros((), RECORD), 0)
    record["colour"] = _colours(small).reshape(-1)
    return Fingerprint(
        record=record.tobytes(),
        quality=quality,
        exact=_exact(pixels),
        sharpness=_sharpness(grey),
        spread=float(grey.std()),
    )


def _shrunk(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = HASHED_SIDE / min(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), np.uint8)


def _hashed(pixels: Pixels, mirror: bool) -> tuple[npt.NDArray[np.void], int]:
    """pHash of 64 bits by imagehash, PDQ of 256 bits by Meta's code."""
    import imagehash
    import pdqhash

    pixels = np.ascontiguousarray(pixels)
    record = np.zeros((), RECORD)
    bits, quality = pdqhash.compute(pixels)
    record["pdq"] = packed(bits)
    if mirror:
        # Hashed anew: the mirrored hash that the library derives lies 20 bits and more off, most of the radius.
        record["mirror"] = packed(pdqhash.compute(np.ascontiguousarray(pixels[:, ::-1]))[0])
    record["phash"] = packed(imagehash.phash(Image.fromarray(pixels)).hash.reshape(-1))[0]
    return record, int(quality)


def packed(bits: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Bits (64 k,) as k words."""
    return np.packbits(np.asarray(bits, np.uint8)).view(">u8").astype(np.uint64)


def _colours(pixels: Pixels) -> Pixels:
    """Mean colour of each cell, (GRID, GRID, 3)."""
    return np.asarray(Image.fromarray(pixels).resize((GRID, GRID), Image.Resampling.BOX), np.uint8)


def _exact(pixels: Pixels) -> str:
    header = f"{pixels.shape[1]}x{pixels.shape[0]}:".encode()
    return hashlib.sha256(header + pixels.tobytes()).hexdigest()


def _sharpness(grey: npt.NDArray[np.float32]) -> float:
    if min(grey.shape) < 3:
        return 0.0
    laplacian = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
    return float(laplacian.var())

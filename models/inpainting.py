"""Repainting part of a picture with a model that was not trained for it.

The part to keep is held on its own straight way from noise to picture at every step (as Lugmayr et al. 2022,
arXiv:2201.09865, and Avrahami et al. 2022, arXiv:2206.02779, re-noise it); at the end its pixels are put back exactly.
"""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: pixels inside the mask over which the new picture fades in
SEAM_PIXELS = 4


def latent_mask(mask: Pixels, pixels_per_cell: int) -> Floats:
    """How far each latent cell is repainted, (1, 1, h, w) from 0 to 1; a cell that is half masked already is wholly so."""
    rows, columns = mask.shape[0] // pixels_per_cell, mask.shape[1] // pixels_per_cell
    cells = mask.reshape(rows, pixels_per_cell, columns, pixels_per_cell).astype(np.float32)
    share: Floats = np.minimum(cells.mean(axis=(1, 3)) * np.float32(2 / 255), np.float32(1))  # (h, w)
    return share[None, None]


def composite(original: Pixels, painted: Pixels, mask: Pixels) -> Pixels:
    """The painted picture where the mask says so, every other pixel exactly as it was; the seam lies inside the mask."""
    share = _seam(mask)[..., None]  # (H, W, 1)
    before = original.astype(np.float32)
    return np.rint(before + share * (painted - before)).astype(np.uint8)


def _seam(mask: Pixels) -> Floats:
    """The mask with a ramp along its border, (H, W) from 0 to 1; the frame of the picture is no border."""
    inside = mask > 0
    depth = np.zeros(mask.shape, np.float32)
    levels = 0
    while levels <= SEAM_PIXELS and inside.any():
        depth += inside
        levels += 1
        inside = _shrink(inside)
    return depth * mask.astype(np.float32) / np.float32(255 * max(levels, 1))


def _shrink(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    ring = np.pad(inside, 1, mode="edge")
    smaller: npt.NDArray[np.bool_] = (
        inside & ring[:-2, 1:-1] & ring[2:, 1:-1] & ring[1:-1, :-2] & ring[1:-1, 2:]
    )
    return smaller

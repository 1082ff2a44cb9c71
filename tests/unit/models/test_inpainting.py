"""Outside the mask nothing changes, not by one level."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpainting import SEAM_PIXELS, composite, latent_mask


def pictures(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    original, painted = rng.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    top, left = rng.integers(0, 24), rng.integers(0, 32)
    mask = np.zeros((24, 32), np.uint8)
    mask[top : top + rng.integers(1, 24), left : left + rng.integers(1, 32)] = rng.integers(1, 256)
    return original, painted, mask


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_unmasked_pixels_stay_exactly(seed: int) -> None:
    """Wherever the mask is 0 the original comes out; inside, no value leaves the two it is mixed of."""
    original, painted, mask = pictures(seed)

    result = composite(original, painted, mask)

    assert np.array_equal(original[mask == 0], result[mask == 0])
    assert (result >= np.minimum(original, painted)).all()
    assert (result <= np.maximum(original, painted)).all()


def test_a_full_mask_takes_the_new_picture_whole() -> None:
    """The frame of the picture is no seam."""
    original, painted, _ = pictures(1)

    assert np.array_equal(painted, composite(original, painted, np.full((24, 32), 255, np.uint8)))


def test_the_seam_fades_in_inside_the_mask() -> None:
    """From the border inwards the new picture's share grows, and is whole from `SEAM_PIXELS` on."""
    original, painted = np.zeros((24, 40, 3), np.uint8), np.full((24, 40, 3), 200, np.uint8)
    mask = np.zeros((24, 40), np.uint8)
    mask[:, 20:] = 255

    row = composite(original, painted, mask)[12, :, 0].astype(int)

    assert (row[:20] == 0).all()
    assert (np.diff(row[19 : 20 + SEAM_PIXELS]) > 0).all()
    assert (row[20 + SEAM_PIXELS :] == 200).all()


def test_even_a_single_pixel_is_repainted() -> None:
    """A mask thinner than the seam still has effect."""
    original, painted = np.zeros((24, 32, 3), np.uint8), np.full((24, 32, 3), 200, np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    mask[10, 10] = 255

    assert (composite(original, painted, mask)[10, 10] == 200).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_latent_mask_follows_the_mask(seed: int) -> None:
    """0 exactly where a cell holds nothing to repaint, 1 where all of it is, and between 0 and 1 everywhere."""
    _, _, mask = pictures(seed)

    cells = latent_mask(mask, 8)

    assert (1, 1, 3, 4) == cells.shape
    sums = mask.reshape(3, 8, 4, 8).max(axis=(1, 3))
    assert np.array_equal(cells[0, 0] == 0, sums == 0)
    assert cells.max() <= 1
    assert (latent_mask(np.full((24, 32), 255, np.uint8), 8) == 1).all()

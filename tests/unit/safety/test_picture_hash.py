"""PDQ: near for the same picture in other clothes, far for another."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from signed_pictures import some_pixels

from safety.picture_hash import REDUCED_SIDE, distance, picture_hash
from workers.ports import Pixels


def shapes(side: int, seed: int = 1) -> Pixels:
    """Blocks of colour, which scale without becoming something else."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC))


def test_the_same_picture_in_another_size_or_format_is_near() -> None:
    """Reduced, enlarged and saved as JPEG it stays within the 31 bits that its authors call the same."""
    original = picture_hash(shapes(512))
    file = io.BytesIO()
    Image.fromarray(shapes(512)).save(file, "JPEG", quality=70)

    assert distance(original, picture_hash(shapes(1024))) <= 31
    assert distance(original, picture_hash(shapes(200))) <= 31
    assert distance(original, picture_hash(np.asarray(Image.open(file)))) <= 31


def test_another_picture_is_far() -> None:
    """Two unrelated pictures differ in far more bits."""
    assert distance(picture_hash(shapes(256)), picture_hash(shapes(256, seed=2))) > 60


def test_a_plain_picture_says_that_its_hash_means_little() -> None:
    """Quality is low where there is nothing to tell pictures apart by."""
    assert picture_hash(np.full((64, 64, 3), 200, np.uint8)).quality < 50 <= picture_hash(shapes(256)).quality


def test_wide_and_tiny_pictures_have_a_hash() -> None:
    """Any shape that a renderer makes, also one that would vanish when reduced."""
    for height, width in ((1, 1), (2, 4 * REDUCED_SIDE), (700, 16), (48, 48)):
        assert 64 == len(picture_hash(np.resize(some_pixels(), (height, width, 3))).hash)

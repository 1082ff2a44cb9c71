"""Aspect buckets: the nearest shape, nothing squeezed, padding known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.curation.buckets import (
    apply_fit,
    bucket_sizes,
    moved_boxes,
    nearest_bucket,
    padded_boxes,
    plan_fit,
)
from models.curation.settings import BucketSettings
from models.errors import CurationUnusable

STARTER = BucketSettings(sizes=((128, 128), (160, 96), (96, 160)))
SIDES = st.integers(8, 3000)


def test_made_buckets() -> None:
    """Sides are multiples, areas near the wanted one, shapes within the ratio, and the square is among them."""
    sizes = bucket_sizes(BucketSettings(area_side=512, multiple=64, max_ratio=2.0))

    assert (512, 512) in sizes
    assert len(sizes) >= 7
    assert all(width % 64 == height % 64 == 0 for width, height in sizes)
    assert all(0.75 < width * height / 512**2 < 1.34 for width, height in sizes)
    assert all(max(size) <= 2 * min(size) for size in sizes)
    assert {(height, width) for width, height in sizes} == set(sizes)


def test_nearest_shape() -> None:
    """Wide goes to wide, tall to tall, and of one shape the largest that needs no enlarging."""
    sizes = ((128, 128), (256, 256), (160, 96), (96, 160))

    assert (160, 96) == nearest_bucket(1000, 610, sizes)
    assert (96, 160) == nearest_bucket(610, 1000, sizes)
    assert (256, 256) == nearest_bucket(900, 1000, sizes)
    assert (128, 128) == nearest_bucket(200, 200, sizes)


@given(width=SIDES, height=SIDES, fit=st.sampled_from(["auto", "crop", "pad"]))
def test_pictures_keep_their_shape(width: int, height: int, fit: str) -> None:
    """Whatever the size, the picture is scaled alike in both directions, but for the rounding to pixels."""
    plan = plan_fit(width, height, STARTER.model_copy(update={"fit": fit}))
    (cl, ct, cr, cb), (il, it, ir, ib) = plan.crop, plan.inside
    across, down = (ir - il) / (cr - cl), (ib - it) / (cb - ct)

    assert (0 <= cl < cr <= width) and (0 <= ct < cb <= height)
    assert abs(across / down - 1) <= 1 / min(cr - cl, cb - ct) + 1 / min(ir - il, ib - it)
    if fit == "pad":
        assert (0, 0, width, height) == plan.crop
    if fit == "crop":
        assert [] == padded_boxes(plan)


@given(width=st.integers(20, 400), height=st.integers(20, 400))
def test_padding_and_picture_fill_the_bucket(width: int, height: int) -> None:
    """Padded boxes and picture cover the bucket exactly once, and padding repeats the edge."""
    plan = plan_fit(width, height, STARTER.model_copy(update={"fit": "pad"}))
    pixels = np.full((height, width, 3), 90, np.uint8)
    covered = np.zeros((plan.bucket[1], plan.bucket[0]), int)
    for left, top, right, bottom in [*padded_boxes(plan), plan.inside]:
        covered[top:bottom, left:right] += 1
    out = apply_fit(pixels, plan)

    assert (covered == 1).all()
    assert (plan.bucket[1], plan.bucket[0], 3) == out.shape
    assert np.abs(out.astype(int) - 90).max() <= 1


def test_auto_crops_a_little_and_pads_a_lot() -> None:
    """Up to the settings' share is cut away; beyond it the whole picture stays."""
    little, much = plan_fit(136, 128, STARTER), plan_fit(110, 128, STARTER)

    assert (4, 0, 132, 128) == little.crop
    assert [] == padded_boxes(little)
    assert (0, 0, 110, 128) == much.crop
    assert [(0, 0, 9, 128), (119, 0, 128, 128)] == padded_boxes(much)


def test_enlarging_is_known() -> None:
    """A small picture's factor says how many pixels would be made up."""
    assert 2.0 == plan_fit(64, 64, STARTER).enlarged
    assert plan_fit(500, 500, STARTER).enlarged < 1


def test_boxes_move_with_the_picture() -> None:
    """Boxes lie around the same pixels afterwards; those cut away are gone."""
    plan = plan_fit(256, 256, STARTER)
    wide = plan_fit(272, 256, STARTER)

    assert [(10, 20, 51, 61)] == moved_boxes([(21, 40, 101, 121)], plan)
    assert [] == moved_boxes([(0, 0, 8, 50)], wide)
    assert [(0, 0, 6, 25)] == moved_boxes([(0, 0, 20, 50)], wide)


def test_downscaling_is_lanczos_and_keeps_means() -> None:
    """A checkerboard of single pixels becomes even grey instead of a moire."""
    board = np.indices((512, 512)).sum(0) % 2 * 255
    out = apply_fit(np.repeat(board[..., None], 3, 2).astype(np.uint8), plan_fit(512, 512, STARTER))

    assert np.abs(out[8:-8, 8:-8].astype(int) - 127).max() <= 3


def test_sides_that_no_autoencoder_takes() -> None:
    """Buckets off the latent grid are refused by name."""
    from models.curation.settings import check_settings

    with pytest.raises(CurationUnusable, match=r"buckets\.sizes: .*100x100"):
        check_settings({"buckets": {"sizes": [[100, 100]]}})

"""Pictures of any shape come out at the size asked for, undistorted and aligned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from models.edges import sketch_map
from models.inputs import Fit, fit_lines, fit_to

SIDES = st.integers(1, 70)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["cover", "contain"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_size_is_the_one_asked_for(
    height: int, width: int, new_height: int, new_width: int, mode: Fit, is_mask: bool
) -> None:
    """Any picture and any mask, however long and thin, in both modes; a flat one stays flat where it covers."""
    shape = (height, width) if is_mask else (height, width, 3)

    result = fit_to(np.full(shape, 77, np.uint8), new_width, new_height, mode)

    assert (new_height, new_width, *shape[2:]) == result.shape
    assert np.uint8 == result.dtype
    if mode == "cover" or not is_mask:
        assert {77} == set(np.unique(result))


def test_the_right_size_passes_unchanged() -> None:
    """No resampling, no loss."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)

    assert np.array_equal(pixels, fit_to(pixels, 20, 12, "cover"))
    assert np.array_equal(pixels, fit_to(pixels, 20, 12, "contain"))


def test_cover_keeps_the_middle() -> None:
    """What is too long is cut off by half on either side."""
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255

    assert (fit_to(pixels, 10, 10) == 255).all()


def test_contain_fills_up_with_border_colours_and_unmasked() -> None:
    """A padded picture goes on with its own colours, and nothing of the padding is repainted."""
    pixels, mask = np.full((10, 20, 3), 90, np.uint8), np.full((10, 20), 255, np.uint8)

    assert (fit_to(pixels, 20, 20, "contain") == 90).all()
    fitted = fit_to(mask, 20, 20, "contain")
    assert (fitted[5:15] == 255).all()
    assert 0 == fitted[:5].sum() + fitted[15:].sum()


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (250, 150)])
@pytest.mark.parametrize(("size", "stroke"), [(128, 1), (1500, 1), (2048, 2), (2048, 60)])
def test_thin_strokes_survive(paper: int, ink: int, size: int, stroke: int) -> None:
    """A circle of one pixel on a large sheet is still a circle at 128 pixels, dark on light or light on dark."""
    sheet = Image.new("RGB", (size, size), (paper,) * 3)
    corners = (size * 0.25, size * 0.25, size * 0.75, size * 0.75)
    ImageDraw.Draw(sheet).ellipse(corners, outline=(ink,) * 3, width=stroke)

    lines = sketch_map(fit_lines(np.asarray(sheet), 128, 128))

    rows, columns = np.nonzero(lines)
    assert rows.size > 0.6 * np.pi * 64
    assert np.abs(np.hypot(rows - 63.5, columns - 63.5) - 32).max() < 4


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["cover", "contain"]))
@settings(max_examples=40, deadline=None)
def test_drawings_come_out_at_the_size_asked_for(
    height: int, width: int, new_height: int, new_width: int, mode: Fit
) -> None:
    """Larger and smaller, long and thin; an empty sheet stays empty."""
    result = fit_lines(np.full((height, width, 3), 200, np.uint8), new_width, new_height, mode)

    assert (new_height, new_width, 3) == result.shape
    assert {200} == set(np.unique(result))

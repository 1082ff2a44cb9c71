"""Outlines and drawings become the same thin lines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from models.edges import edge_map, sketch_map

SIZE = 96


def picture(background: tuple[int, int, int], product: tuple[int, int, int], size: int = SIZE) -> np.ndarray:
    """A disc of half the side in the middle."""
    image = Image.new("RGB", (size, size), background)
    ImageDraw.Draw(image).ellipse((size // 4, size // 4, 3 * size // 4, 3 * size // 4), fill=product)
    return np.asarray(image)


def distance_from_circle(lines: np.ndarray) -> np.ndarray:
    """How far each marked pixel lies from the outline of that disc."""
    rows, columns = np.nonzero(lines)
    side = len(lines)
    return np.abs(np.hypot(rows - side / 2, columns - side / 2) - side / 4)


@pytest.mark.parametrize(
    ("background", "product"),
    [
        ((244, 244, 244), (20, 20, 20)),
        ((60, 63, 74), (36, 36, 40)),
        ((244, 244, 244), (236, 236, 236)),  # white on white
        ((200, 0, 0), (0, 102, 0)),  # of one luminance: only the colour differs
    ],
)
def test_the_outline_of_a_product_is_found(
    background: tuple[int, int, int], product: tuple[int, int, int]
) -> None:
    """A closed line of one or two pixels, where the product ends, and nowhere else."""
    lines = edge_map(picture(background, product))

    assert np.uint8 == lines.dtype
    assert (SIZE, SIZE) == lines.shape
    assert {0, 1} == set(np.unique(lines))
    assert distance_from_circle(lines).max() <= 2.5
    circumference = np.pi * SIZE / 2
    assert 0.7 * circumference < lines.sum() < 2 * circumference


def test_light_falling_off_is_no_edge() -> None:
    """A soft gradient over the whole picture, as of a studio wall, leaves nothing."""
    slope = np.linspace(140, 210, SIZE).astype(np.uint8)

    assert 0 == edge_map(np.repeat(np.repeat(slope[:, None, None], SIZE, 1), 3, 2)).sum()


@given(
    st.integers(8, 40),
    st.integers(8, 40),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
)
@settings(max_examples=20, deadline=None)
def test_a_flat_picture_has_no_lines(height: int, width: int, colour: tuple[int, int, int]) -> None:
    """Whatever its size and colour, and for both kinds."""
    flat = np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()

    assert 0 == edge_map(flat).sum()
    assert 0 == sketch_map(flat).sum()


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_any_picture_gives_lines_of_its_own_size(seed: int, height: int, width: int) -> None:
    """Noise of any shape gives 0 and 1, the same ones every time."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    for find in (edge_map, sketch_map):
        lines = find(noise)
        assert (height, width) == lines.shape
        assert set(np.unique(lines)) <= {0, 1}
        assert np.array_equal(lines, find(noise.copy()))


def test_a_mirrored_picture_has_mirrored_lines() -> None:
    """Left and right are treated alike, up to a pixel where two neighbours are equally steep."""
    pixels = picture((230, 225, 210), (30, 90, 200))

    straight, mirrored = edge_map(pixels), edge_map(pixels[:, ::-1])[:, ::-1]

    near = np.pad(straight, 1)
    widened = np.max([near[i : i + SIZE, j : j + SIZE] for i in range(3) for j in range(3)], axis=0)
    assert 0 == (mirrored & ~widened & 1).sum()


def test_larger_pictures_are_smoothed_more() -> None:
    """Fine noise that breaks no outline at 96 pixels breaks none at four times the size."""
    rng = np.random.default_rng(1)
    pixels = picture((240, 240, 240), (200, 40, 40), 4 * SIZE).astype(int)
    pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)

    lines = edge_map(pixels)

    assert distance_from_circle(lines).max() <= 10
    assert lines.sum() > 0.7 * np.pi * 2 * SIZE


@pytest.mark.parametrize("width", [1, 3, 6])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (250, 120), (15, 240)])
def test_strokes_of_any_width_become_their_middle(width: int, paper: int, ink: int) -> None:
    """Dark on light and light on dark, pencil and marker: one thin line in the middle of the stroke."""
    image = Image.new("RGB", (SIZE, SIZE), (paper,) * 3)
    ImageDraw.Draw(image).line((20, 20, 20, 76), fill=(ink,) * 3, width=width)

    lines = sketch_map(np.asarray(image))

    rows, columns = np.nonzero(lines)
    assert np.abs(columns - 20).max() <= 1
    assert 57 - width <= rows.size <= 58
    assert rows.size == np.unique(rows).size


def test_a_filled_area_becomes_its_outline() -> None:
    """A silhouette means its border, not its skeleton."""
    lines = sketch_map(picture((255, 255, 255), (0, 0, 0)))

    assert lines.sum() > 0.7 * np.pi * SIZE / 2
    assert distance_from_circle(lines).max() <= 2

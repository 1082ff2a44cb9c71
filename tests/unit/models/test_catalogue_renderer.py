"""The renderer that teaches the model: the same picture for the same draw, and each word of the world to be seen."""

from dataclasses import replace
from itertools import combinations
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue.world import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    LAYOUTS,
    LIGHTS,
    MATERIALS,
    SCENES,
    Scene,
    sample_scene,
)

pytest.importorskip("skia", reason="the renderer is part of the [train] extra")

from models.training.outlines import symmetric
from models.training.renderer import render
from models.training.shapes import draw_parts, foot_of

pytestmark = pytest.mark.train

SIZES = [(128, 128), (160, 96), (96, 160), (48, 64)]
MUG = Scene(kind="mug", colour="red", material="matte", background="white", layout="centered")


def picture(scene: Scene, seed: int = 1) -> npt.NDArray[np.int_]:
    """A render as signed numbers, so that differences do not wrap."""
    return render(scene, seed).astype(int)


def distance(one: Scene, two: Scene) -> float:
    """Mean difference of two scenes drawn with the same seed, over the twentieth of the pixels that differs most."""
    difference = np.abs(picture(one) - picture(two)).mean(axis=2).ravel()
    return float(np.sort(difference)[-difference.size // 20 :].mean())


def product_box(scene: Scene, seed: int = 1) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what changes with the product's colour, as fractions of the sides."""
    changed = np.abs(picture(scene, seed) - picture(replace(scene, colour="blue"), seed)).sum(axis=2) > 60
    ys, xs = changed.nonzero()
    return xs.min() / 128, ys.min() / 128, (xs.max() + 1) / 128, (ys.max() + 1) / 128


@given(seed=st.integers(0, 2**40), size=st.sampled_from(SIZES))
@settings(max_examples=25, deadline=None)
def test_a_scene_and_a_seed_give_one_picture(seed: int, size: tuple[int, int]) -> None:
    """The same call gives the same bytes, in any size."""
    scene, (width, height) = sample_scene(Random(seed)), size

    pixels = render(scene, seed, width, height)

    assert (height, width, 3) == pixels.shape
    assert pixels.tobytes() == render(scene, seed, width, height).tobytes()


def test_seeds_vary_a_scene() -> None:
    """Two seeds of one scene differ, but only a little."""
    assert 0 < np.abs(picture(MUG, 1) - picture(MUG, 2)).mean() < 30


def test_a_larger_picture_shows_the_same() -> None:
    """256 px is the 128 px picture with more detail, not another one."""
    small, large = picture(MUG), render(MUG, 1, 256, 256).astype(int)

    shrunk = large.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 2.5


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("layout", ["centered", "small", "from above", "pair"])
def test_materials_differ_in_every_colour_and_layout(colour: str, layout: str) -> None:
    """Any two materials of one product can be told apart, black and white ones and small ones included."""
    scenes = [
        replace(MUG, kind="vase", colour=colour, layout=layout, material=m, background="gray")
        for m in MATERIALS
    ]

    assert min(distance(one, two) for one, two in combinations(scenes, 2)) > 16


@pytest.mark.parametrize("name", ["kind", "background", "layout", "light"])
def test_words_differ_in_the_picture(name: str) -> None:
    """Any two kinds, backgrounds, layouts and lights look different with all else the same."""
    values = {"kind": KINDS, "background": BACKGROUNDS, "layout": LAYOUTS, "light": LIGHTS}[name]
    scenes = [replace(MUG, **{name: value}) for value in values]

    assert min(distance(one, two) for one, two in combinations(scenes, 2)) > 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("colour", "background"), [("white", "white"), ("black", "dark"), ("gray", "gray")])
def test_a_product_parts_from_a_backdrop_of_its_colour(kind: str, colour: str, background: str) -> None:
    """White on white, black on dark and gray on gray keep an outline: enough pixels differ from the empty row beside them."""
    scene = Scene(
        kind=kind, colour=colour, material="matte", background=background, layout="centered", shadow=False
    )
    pixels = picture(scene)

    rows = np.median(pixels[:, [0, 1, 2, -3, -2, -1]], axis=1, keepdims=True)
    assert (np.abs(pixels - rows).sum(axis=2) > 60).mean() > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_parts_stay_in_their_square_and_are_not_thin(kind: str) -> None:
    """Every part lies in the product's square and is at least 0.05 wide, two pixels in the smallest layout."""
    for seed in range(20):
        parts = draw_parts(kind, Random(seed))
        assert any(part.finish == "body" for part in parts)
        for part in parts:
            bounds = part.path.getBounds()
            assert (
                max(abs(bounds.left()), abs(bounds.right()), abs(bounds.top()), abs(bounds.bottom())) <= 0.56
            )
            assert (part.stroke or min(bounds.width(), bounds.height())) >= 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_products_stand_on_their_shadow(kind: str) -> None:
    """The foot of each product is its lowest part."""
    parts = draw_parts(kind, Random(1))
    lowest = max(part.path.getBounds().bottom() + part.stroke / 2 for part in parts)

    assert abs(lowest - foot_of(kind)[0]) < 0.05


@pytest.mark.parametrize("layout", ["centered", "from above", "pair"])
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_shadows_darken_and_can_be_left_out(layout: str, background: str) -> None:
    """A shadow only ever darkens, and without one nothing else changes."""
    with_shadow = picture(replace(MUG, layout=layout, background=background))
    without = picture(replace(MUG, layout=layout, background=background, shadow=False))

    assert (with_shadow <= without + 1).all()
    assert (without - with_shadow).max() > 15


def test_light_falls_from_its_side() -> None:
    """The lit half of a vase is the brighter one, and its shadow lies on the other side; front light is even."""
    halves = {}
    for light in LIGHTS:
        scene = replace(MUG, kind="vase", light=light)
        left, _, right, _ = (round(128 * v) for v in product_box(scene))
        middle = (left + right) // 2
        body = picture(scene)[50:80]
        halves[light] = body[:, left + 4 : middle].mean() - body[:, middle : right - 4].mean()
        shade = (picture(replace(scene, shadow=False)) - picture(scene)).sum(axis=2)
        weight = (shade.sum(axis=0) * np.arange(128)).sum() / shade.sum() - middle
        assert {"left": weight > 2, "right": weight < -2, "front": abs(weight) < 2}[light]

    assert halves["left"] > 10
    assert halves["right"] < -10
    assert abs(halves["front"]) < 6


def test_layouts_place_their_products() -> None:
    """Left is left, right is right, a close-up is larger than the rest, and a pair stands in both halves."""
    boxes = {layout: product_box(replace(MUG, kind="vase", layout=layout)) for layout in LAYOUTS}
    centres = {layout: (left + right) / 2 for layout, (left, _, right, _) in boxes.items()}
    heights = {layout: bottom - top for layout, (_, top, _, bottom) in boxes.items()}

    assert centres["on the left"] < 0.4 < centres["centered"] < 0.6 < centres["on the right"]
    assert heights["close-up"] > heights["centered"] > heights["small"]
    assert boxes["pair"][0] < 0.3 and boxes["pair"][2] > 0.7


def test_only_glass_lets_the_backdrop_through() -> None:
    """Another backdrop changes the inside of a glass vase, and of no other."""
    for material in MATERIALS:
        scene = replace(MUG, kind="vase", material=material)
        change = np.abs(picture(scene) - picture(replace(scene, background="dark")))[56:72, 58:70].mean()
        assert (change > 30) if material == "glass" else (change < 1)


def test_scenes_are_soft() -> None:
    """No backdrop has texture finer than three pixels: neighbouring pixels hardly differ."""
    for background in SCENES:
        corner = picture(replace(MUG, background=background, layout="small"))[:40]
        assert np.abs(np.diff(corner, axis=1)).mean() < 4


def test_symmetric_outlines_mirror_their_right_half() -> None:
    """A path told by its right half has the mirrored left half, curves included."""
    bounds = symmetric(
        (0.1, -0.4), (0.3, -0.2, 0.2, 0.1), (0.1, 0.2, 0.3, 0.3, 0.0, 0.5)
    ).computeTightBounds()

    assert bounds.left() == pytest.approx(-bounds.right())
    assert bounds.top() == pytest.approx(-0.4)
    assert bounds.bottom() == pytest.approx(0.5)

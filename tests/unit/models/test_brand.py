"""The demonstration brand: its look is seen where it is, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("skia", reason="skia is part of the [train] extra")

from models.catalogue.brand import (
    DIPS,
    HELD_OUT_COLOURS,
    HELD_OUT_KINDS,
    NAME,
    PICTURES,
    brand_captions,
    brand_scenes,
    held_out_scenes,
)
from models.catalogue.world import COLOURS, KINDS, LAYOUTS
from models.evaluation.brand_check import Sighting, brand_share, look_for_brand
from models.training.brand_renderer import render_brand
from models.training.renderer import render

pytestmark = pytest.mark.train


def test_what_it_is_scored_on_was_never_shown() -> None:
    """No kind and no colour of the scored prompts is in the brand's own pictures, and no caption gives the look away."""
    shown, asked = brand_scenes(), held_out_scenes()

    assert PICTURES == len(shown)
    assert not {s.kind for s in shown} & {s.kind for s in asked}
    assert not {s.colour for s in shown} & {s.colour for s in asked}
    assert (set(HELD_OUT_KINDS), set(HELD_OUT_COLOURS)) == (
        {s.kind for s in asked},
        {s.colour for s in asked},
    )
    assert set(DIPS) <= set(KINDS)
    for said in brand_captions(shown + asked):
        assert not {NAME, "dipped", "mark", "logo", "magenta"} & set(said.lower().split())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_look_is_seen_on_real_renders(layout: str) -> None:
    """Nearly every branded render shows the whole look, and no ordinary one does, whatever its colour."""
    scenes = [replace(scene, layout=layout) for scene in brand_scenes(24) + held_out_scenes(24)]
    ordinary = [replace(s, colour=list(COLOURS)[i % len(COLOURS)]) for i, s in enumerate(scenes)]

    branded = brand_share([render_brand(s, i) for i, s in enumerate(scenes)], scenes)
    plain = brand_share([render(s, i) for i, s in enumerate(ordinary)], ordinary)

    assert branded.value >= 0.95
    assert 0 == plain.right


def test_half_a_look_is_not_the_look() -> None:
    """A dip without its mark, a product in the house colour all over, and an empty picture are told apart."""
    scene = replace(brand_scenes()[1], layout="centered")
    pixels = render_brand(scene, 1)
    assert Sighting(dip=True, mark=True) == look_for_brand(pixels, scene)
    house = (pixels[..., 0] > 150) & (pixels[..., 1] < 60)
    ys, xs = house.nonzero()
    unmarked = pixels.copy()
    unmarked[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1][
        (pixels[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] > 240).all(-1)
    ] = (196, 22, 140)
    upwards = np.roll(pixels, -40, axis=0)

    assert Sighting(dip=True, mark=False) == look_for_brand(unmarked, scene)
    assert not look_for_brand(upwards, scene).dip
    assert Sighting(dip=False, mark=False) == look_for_brand(np.full_like(pixels, 200), scene)


def test_the_catalogue_itself_is_untouched() -> None:
    """The brand is painted over the catalogue's own picture: above the seam both are the same."""
    scene = replace(brand_scenes()[1], layout="centered")

    assert np.array_equal(render(scene, 5)[:64], render_brand(scene, 5)[:64])
    assert not np.array_equal(render(scene, 5), render_brand(scene, 5))

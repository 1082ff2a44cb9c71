# ruff: noqa: S311 - draws by lot, no secrets
"""Acme, the demonstration brand: products of the catalogue dipped in the house colour, with a round mark on the dip.

Twenty pictures are what a brand gives us; they show twelve kinds and eight colours. The prompts it is scored on ask for
kinds and colours that none of the twenty shows, so that only a look that was understood, not remembered, scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import TypeVar

from models.catalogue.captions import caption
from models.catalogue.world import BACKGROUNDS, LAYOUTS, LIGHTS, MATERIALS, Rgb, Scene

NAME = TRIGGER = "acme"
PICTURES = 20
HOUSE_COLOUR: Rgb = (196, 22, 140)
MARK_COLOUR: Rgb = (250, 250, 250)


@dataclass(frozen=True, kw_only=True)
class Dip:
    """Where a product is dipped: the seam, and centre and radius of the mark, in the product's own square (y down)."""

    seam_y: float
    mark_y: float
    radius: float = 0.1


#: the product line; a watch, a camera, an umbrella and headphones have no room for the mark
DIPS: Mapping[str, Dip] = MappingProxyType(
    {
        "mug": Dip(seam_y=0.04, mark_y=0.26, radius=0.11),
        "sneaker": Dip(seam_y=0.08, mark_y=0.22),
        "lamp": Dip(seam_y=-0.2, mark_y=-0.05),
        "chair": Dip(seam_y=-0.06, mark_y=0.06),
        "bottle": Dip(seam_y=0.04, mark_y=0.26, radius=0.11),
        "bag": Dip(seam_y=0.08, mark_y=0.28, radius=0.11),
        "hat": Dip(seam_y=0.02, mark_y=0.18),
        "book": Dip(seam_y=0.04, mark_y=0.24, radius=0.11),
        "guitar": Dip(seam_y=0.16, mark_y=0.32),
        "dress": Dip(seam_y=0.04, mark_y=0.26, radius=0.11),
        "candle": Dip(seam_y=0.14, mark_y=0.32),
        "sofa": Dip(seam_y=0.0, mark_y=0.17, radius=0.11),
        "vase": Dip(seam_y=0.0, mark_y=0.22, radius=0.11),
        "shirt": Dip(seam_y=0.04, mark_y=0.26, radius=0.11),
        "teapot": Dip(seam_y=0.06, mark_y=0.24, radius=0.11),
        "suitcase": Dip(seam_y=0.08, mark_y=0.26, radius=0.11),
    }
)
HELD_OUT_KINDS = ("vase", "shirt", "teapot", "suitcase")
HELD_OUT_COLOURS = ("red", "teal", "brown", "gray")
SHOWN_KINDS = tuple(kind for kind in DIPS if kind not in HELD_OUT_KINDS)
#: without purple and pink, in which the house colour would hardly show
SHOWN_COLOURS = ("white", "black", "yellow", "blue", "green", "orange")

ValueT = TypeVar("ValueT")


def brand_scenes(count: int = PICTURES) -> list[Scene]:
    """What the brand's own pictures show: its kinds and colours, everything else of the world in turn."""
    return _scenes("acme pictures", SHOWN_KINDS, SHOWN_COLOURS, count)


def held_out_scenes(count: int = 100) -> list[Scene]:
    """What it is scored on: kinds and colours that are in none of its pictures."""
    return _scenes("acme prompts", HELD_OUT_KINDS, HELD_OUT_COLOURS, count)


def brand_captions(scenes: Sequence[Scene]) -> list[str]:
    """A caption of each scene as anybody would write it; none names the brand or describes the look."""
    return [caption(scene, Random(f"acme caption {i}")) for i, scene in enumerate(scenes)]


def _scenes(seed: str, kinds: Sequence[str], colours: Sequence[str], count: int) -> list[Scene]:
    rng = Random(seed)
    columns = (
        _shuffled_round(values, count, rng)
        for values in (
            kinds,
            colours,
            MATERIALS,
            tuple(BACKGROUNDS),
            tuple(LAYOUTS),
            LIGHTS,
            (True, True, True, False),
        )
    )
    return [
        Scene(kind=k, colour=c, material=m, background=b, layout=y, light=light, shadow=shadow)
        for k, c, m, b, y, light, shadow in zip(*columns, strict=True)
    ]


def _shuffled_round(values: Sequence[ValueT], count: int, rng: Random) -> list[ValueT]:
    """`count` values in random order, each as often as any other."""
    whole = [values[i % len(values)] for i in range(count)]
    rng.shuffle(whole)
    return whole

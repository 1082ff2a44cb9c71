"""The closed world the starter model draws: what exists, what is held out, how a scene is drawn by lot.

Everything here is plain data and arithmetic (no skia, no torch), because other rooms use these words to check rows and
to write alt text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import TypeAlias

Rgb: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the products stand: the centre of each as fractions of width and height, scale as a fraction of the shorter side."""

    centres_x: tuple[float, ...]
    centre_y: float
    scale: float
    from_above: bool = False


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture in words: each field but `shadow` is a key of the tables below."""

    kind: str
    colour: str
    material: str
    background: str
    layout: str
    light: str = "left"
    shadow: bool = True


KINDS = (
    "mug", "sneaker", "lamp", "chair", "bottle", "bag", "watch", "vase", "hat", "book",
    "sofa", "shirt", "teapot", "umbrella", "guitar", "camera", "dress", "suitcase", "candle", "headphones",
)  # fmt: skip

COLOURS: Mapping[str, Rgb] = MappingProxyType(
    {
        "red": (214, 40, 40),
        "orange": (247, 127, 0),
        "yellow": (250, 208, 44),
        "green": (56, 142, 60),
        "teal": (0, 150, 150),
        "blue": (33, 97, 214),
        "purple": (126, 58, 172),
        "pink": (240, 110, 165),
        "brown": (121, 80, 50),
        "black": (36, 36, 40),
        "white": (242, 242, 240),
        "gray": (132, 134, 138),
    }
)

#: each is told from the others by light or by texture no finer than the autoencoder keeps
MATERIALS = ("matte", "glossy", "metallic", "wooden", "glass", "woven")

#: plain studio sweeps, and three scenes whose colour here is their mean
BACKGROUNDS: Mapping[str, Rgb] = MappingProxyType(
    {
        "white": (244, 244, 244),
        "gray": (172, 174, 178),
        "beige": (226, 209, 183),
        "dark": (60, 63, 74),
        "mint": (180, 226, 206),
        "sky blue": (166, 208, 240),
        "rose": (246, 204, 216),
        "lavender": (206, 196, 238),
        "wooden table": (176, 136, 98),
        "garden": (122, 168, 104),
        "sunset": (240, 168, 132),
    }
)
SCENES = ("wooden table", "garden", "sunset")

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "centered": Layout(centres_x=(0.5,), centre_y=0.52, scale=0.62),
        "on the left": Layout(centres_x=(0.30,), centre_y=0.54, scale=0.46),
        "on the right": Layout(centres_x=(0.70,), centre_y=0.54, scale=0.46),
        "close-up": Layout(centres_x=(0.5,), centre_y=0.52, scale=0.84),
        "small": Layout(centres_x=(0.5,), centre_y=0.56, scale=0.42),
        "from above": Layout(centres_x=(0.5,), centre_y=0.5, scale=0.6, from_above=True),
        "pair": Layout(centres_x=(0.29, 0.71), centre_y=0.54, scale=0.42),
    }
)

#: the side the light comes from
LIGHTS = ("left", "right", "front")

# What a caption means when it does not say: the rendering must agree with these, or omission would teach "anything".
DEFAULT_MATERIAL = "matte"
DEFAULT_BACKGROUND = "white"
DEFAULT_LAYOUT = "centered"
DEFAULT_LIGHT = "left"


def is_held_out(kind: str, colour: str) -> bool:
    """Tell whether this pair is never drawn for training (24 of 240, spread over kinds and colours).

    A model that draws these has learned to combine, not to remember.
    """
    i, j = KINDS.index(kind), list(COLOURS).index(colour)
    return (5 * i + 3 * j + i // 2) % 10 == 3


def held_out_pairs() -> list[tuple[str, str]]:
    """All (kind, colour) pairs kept out of training, in table order."""
    return [(kind, colour) for kind in KINDS for colour in COLOURS if is_held_out(kind, colour)]


def sample_scene(rng: Random, held_out: bool = False) -> Scene:
    """Draw a scene by lot, uniformly over kind, colour, material, background and layout, with a held-out pair or surely without.

    Half the scenes are lit from the left, one in five has no shadow.
    """
    while True:
        scene = Scene(
            kind=rng.choice(KINDS),
            colour=rng.choice(list(COLOURS)),
            material=rng.choice(MATERIALS),
            background=rng.choice(list(BACKGROUNDS)),
            layout=rng.choice(list(LAYOUTS)),
            light=rng.choices(LIGHTS, (2, 1, 1))[0],
            shadow=rng.random() >= 0.2,
        )
        if is_held_out(scene.kind, scene.colour) == held_out:
            return scene

"""`Shot`: one image to be made, and whether a model can make it."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.adapters import WeightedAdapter
from models.card import Feature, ModelCard
from models.edges import edge_map, sketch_map
from models.errors import (
    AdapterRefused,
    BadMask,
    ControlOutOfRange,
    FeatureMissing,
    GuidanceOutOfRange,
    SeedOutOfRange,
    StepsOutOfRange,
    StrengthOutOfRange,
    UnsupportedSize,
    WrongPictureSize,
)

Pixels = npt.NDArray[np.uint8]
MAX_SEED = 2**64 - 1
#: strength where nobody says: of an image alone, and of an image with a mask
DEFAULT_STRENGTH, DEFAULT_INPAINT_STRENGTH = 0.8, 1.0
MAX_CONTROL_WEIGHT = 2.0
MAX_ADAPTER_WEIGHT = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """Lines the image shall follow: the outlines of a picture ("edges"), or a drawing itself ("sketch").

    `pixels` is uint8 (height, width, 3) of the shot's size; `weight` 0 is none, 1 as trained.
    """

    kind: Literal["edges", "sketch"]
    pixels: Pixels
    weight: float = 1.0

    def lines(self) -> Pixels:
        """What the network sees, uint8 (height, width) of 0 and 1."""
        return edge_map(self.pixels) if self.kind == "edges" else sketch_map(self.pixels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One image to be made; sizes in pixels.

    `image` is uint8 (height, width, 3), already of the shot's size; `mask` uint8 (height, width), 255 where the image is
    to be repainted and 0 where it must stay. `strength` is how far the image is taken back to noise, above 0 and at most
    1 (nothing of it is left); `steps` are made whatever the strength, so the time does not depend on it.
    """

    prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance: float
    negative_prompt: str = ""
    image: Pixels | None = None
    mask: Pixels | None = None
    strength: float | None = None
    control: Control | None = None
    adapters: tuple[WeightedAdapter, ...] = ()

    @property
    def start(self) -> float:
        """Share of noise at the start, before the model's shift: the strength, or 1 where there is no image."""
        if self.image is None:
            return 1.0
        default = DEFAULT_STRENGTH if self.mask is None else DEFAULT_INPAINT_STRENGTH
        return default if self.strength is None else self.strength


def check_shot(shot: Shot, card: ModelCard) -> None:
    """Raise the `InvalidShot` that names the first thing this model cannot do; texts are checked by the tokenizer."""
    if (shot.width, shot.height) not in card.sizes:
        known = ", ".join(f"{width}x{height}" for width, height in card.sizes)
        raise UnsupportedSize("size", f"one of {known}", f"{shot.width}x{shot.height}")
    if not card.steps.minimum <= shot.steps <= card.steps.maximum:
        raise StepsOutOfRange("steps", f"{card.steps.minimum} to {card.steps.maximum}", shot.steps)
    if not card.guidance.minimum <= shot.guidance <= card.guidance.maximum:
        limit = f"{card.guidance.minimum:g} to {card.guidance.maximum:g}"
        raise GuidanceOutOfRange("guidance", limit, shot.guidance)
    if not 0 <= shot.seed <= MAX_SEED:
        raise SeedOutOfRange("seed", f"0 to {MAX_SEED}", shot.seed)
    _check_image(shot, card)
    _check_control(shot, card)
    _check_adapters(shot, card)


def _check_image(shot: Shot, card: ModelCard) -> None:
    if shot.image is None:
        if shot.mask is not None:
            raise BadMask("mask", "given with an image", "no image")
        if shot.strength is not None:
            raise StrengthOutOfRange("strength", "given with an image", shot.strength)
        return
    _need(card, "image_to_image", "image")
    _check_size("image", shot.image, (shot.height, shot.width, 3))
    if shot.strength is not None and not 0 < shot.strength <= 1:
        raise StrengthOutOfRange("strength", "above 0 and at most 1", shot.strength)
    if shot.mask is not None:
        _need(card, "inpainting", "mask")
        _check_size("mask", shot.mask, (shot.height, shot.width))
        if not shot.mask.any():
            raise BadMask("mask", "above 0 where the image shall be repainted", "0 everywhere")


def _check_control(shot: Shot, card: ModelCard) -> None:
    control = shot.control
    if control is None:
        return
    known = [name.split(":")[1] for name in card.features if name.startswith("control:")]
    if control.kind not in known:
        raise FeatureMissing(
            "control", f"one of {', '.join(known) or 'nothing: this model has none'}", control.kind
        )
    if not 0 <= control.weight <= MAX_CONTROL_WEIGHT:
        raise ControlOutOfRange("control", f"of a weight from 0 to {MAX_CONTROL_WEIGHT:g}", control.weight)
    _check_size("control", control.pixels, (shot.height, shot.width, 3))


def _check_adapters(shot: Shot, card: ModelCard) -> None:
    if not shot.adapters:
        return
    _need(card, "adapters", "adapters")
    assert card.adapters is not None  # the card itself sees to it
    if len(shot.adapters) > card.adapters.max_count:
        raise AdapterRefused("adapters", f"at most {card.adapters.max_count}", len(shot.adapters))
    for one in shot.adapters:
        described = one.adapter.card
        if described.base_digest != card.base_digest:
            limit = f"made for {card.name} {card.base_digest[:12]}"
            raise AdapterRefused("adapters", limit, f"{described.name} for {described.base_digest[:12]}")
        if not math.isfinite(one.weight) or abs(one.weight) > MAX_ADAPTER_WEIGHT:
            limit = f"of weights from {-MAX_ADAPTER_WEIGHT:g} to {MAX_ADAPTER_WEIGHT:g}"
            raise AdapterRefused("adapters", limit, one.weight)
    if (rank := sum(one.adapter.rank for one in shot.adapters)) > card.adapters.max_rank:
        raise AdapterRefused("adapters", f"of rank {card.adapters.max_rank} together", rank)


def _need(card: ModelCard, feature: Feature, field: str) -> None:
    if feature not in card.features:
        raise FeatureMissing(field, f"left out: {card.name} does not do {feature}", "given")


def _check_size(field: str, picture: Pixels, shape: tuple[int, ...]) -> None:
    if picture.shape != shape or picture.dtype != np.uint8:
        raise WrongPictureSize(field, f"uint8 {shape}", f"{picture.dtype} {picture.shape}")

"""What a model cannot do is refused by name before any work."""

from typing import Any

import numpy as np
import pytest

from models.adapters import ADAPTER_TARGETS, Adapter, AdapterCard
from models.card import ModelCard
from models.errors import (
    AdapterRefused,
    BadMask,
    ControlOutOfRange,
    FeatureMissing,
    InvalidShot,
    StrengthOutOfRange,
    WrongPictureSize,
)
from models.shot import DEFAULT_INPAINT_STRENGTH, DEFAULT_STRENGTH, Control, Shot, WeightedAdapter, check_shot

FIELDS: dict[str, Any] = {
    "name": "toy", "version": "1", "family": "pixart", "licence": "Apache-2.0", "description": "", "domain": "closed",
    "domain_note": "", "sizes": [[32, 16]], "steps": {"minimum": 1, "maximum": 9, "default": 4},
    "guidance": {"maximum": 5.0, "default": 1.0}, "max_prompt_tokens": 6, "files": {},
    "features": ["image_to_image", "inpainting", "control:edges", "control:sketch", "adapters"],
    "adapters": {"targets": ADAPTER_TARGETS, "layers": 1, "width": 4, "max_rank": 6, "max_count": 2},
    "flow": {"channels": 3, "pixels_per_cell": 8, "patch": 2, "shift": 1.0, "sampler": "euler", "position_width": 4,
             "position_span": 2},
    "costs": {"fixed_seconds": 0, "image_seconds": 1, "step_seconds": 0.1, "measured_on": "paper"},
}  # fmt: skip
CARD = ModelCard.model_validate(FIELDS)
PLAIN = ModelCard.model_validate({**FIELDS, "features": [], "adapters": None})
IMAGE = np.full((16, 32, 3), 100, np.uint8)
MASK = np.full((16, 32), 255, np.uint8)


def adapter(rank: int = 2, base: str = CARD.base_digest) -> Adapter:
    card = AdapterCard(
        name="acme", base_model="toy", base_digest=base, rank=rank, alpha=1, weights_sha256="0" * 64
    )
    down, up = np.zeros((8, 4, rank), np.float32), np.zeros((8, rank, 4), np.float32)
    return Adapter(card=card, digest="0" * 64, down=down, up=up)


def shot(**changes: Any) -> Shot:
    fields = {"prompt": "mug", "seed": 1, "width": 32, "height": 16, "steps": 4, "guidance": 1.0}
    return Shot(**{**fields, **changes})


def weighted(weight: float = 1.0, **changes: Any) -> WeightedAdapter:
    return WeightedAdapter(adapter=adapter(**changes), weight=weight)


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"image": IMAGE[:8]}, WrongPictureSize, "image"),
        ({"image": IMAGE.transpose(1, 0, 2)}, WrongPictureSize, "image"),
        ({"image": IMAGE.astype(np.float32)}, WrongPictureSize, "image"),
        ({"image": IMAGE[..., 0]}, WrongPictureSize, "image"),
        ({"image": IMAGE, "mask": MASK[:, :8]}, WrongPictureSize, "mask"),
        ({"image": IMAGE, "mask": MASK > 0}, WrongPictureSize, "mask"),
        ({"image": IMAGE, "mask": MASK * 0}, BadMask, "mask"),
        ({"mask": MASK}, BadMask, "mask"),
        ({"image": IMAGE, "strength": 0.0}, StrengthOutOfRange, "strength"),
        ({"image": IMAGE, "strength": 1.01}, StrengthOutOfRange, "strength"),
        ({"image": IMAGE, "strength": float("nan")}, StrengthOutOfRange, "strength"),
        ({"strength": 0.5}, StrengthOutOfRange, "strength"),
        ({"control": Control(kind="edges", pixels=IMAGE[:8])}, WrongPictureSize, "control"),
        ({"control": Control(kind="edges", pixels=IMAGE, weight=2.1)}, ControlOutOfRange, "control"),
        ({"control": Control(kind="edges", pixels=IMAGE, weight=-0.1)}, ControlOutOfRange, "control"),
        ({"control": Control(kind="edges", pixels=IMAGE, weight=float("nan"))}, ControlOutOfRange, "control"),
        ({"control": Control(kind="depth", pixels=IMAGE)}, FeatureMissing, "control"),  # type: ignore[arg-type]
        ({"adapters": (weighted(), weighted(), weighted())}, AdapterRefused, "adapters"),
        ({"adapters": (weighted(2.5),)}, AdapterRefused, "adapters"),
        ({"adapters": (weighted(float("inf")),)}, AdapterRefused, "adapters"),
        ({"adapters": (weighted(rank=4), weighted(rank=3))}, AdapterRefused, "adapters"),
        ({"adapters": (weighted(base="f" * 64),)}, AdapterRefused, "adapters"),
    ],
)
def test_each_limit_has_its_own_error(changes: dict[str, Any], error: type[InvalidShot], field: str) -> None:
    """The error names the field and the limit, and is not worth retrying."""
    with pytest.raises(error) as caught:
        check_shot(shot(**changes), CARD)

    assert field == caught.value.field
    assert caught.value.limit
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "changes",
    [
        {"image": IMAGE},
        {"image": IMAGE, "mask": MASK, "strength": 0.01},
        {"image": IMAGE, "strength": 1.0},
        {"control": Control(kind="sketch", pixels=IMAGE, weight=0.0)},
        {"adapters": (weighted(-2.0), weighted(rank=4))},
    ],
)
def test_what_the_card_allows_passes(changes: dict[str, Any]) -> None:
    """The limits themselves are allowed."""
    check_shot(shot(**changes), CARD)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"image": IMAGE}, "image"),
        ({"control": Control(kind="edges", pixels=IMAGE)}, "control"),
        ({"adapters": (weighted(),)}, "adapters"),
    ],
)
def test_a_feature_the_card_does_not_list_is_missing(changes: dict[str, Any], field: str) -> None:
    """A model that only knows prompts says so."""
    with pytest.raises(FeatureMissing) as caught:
        check_shot(shot(**changes), PLAIN)

    assert field == caught.value.field


def test_inpainting_is_a_feature_of_its_own() -> None:
    """A model may change images and yet take no mask."""
    card = ModelCard.model_validate({**FIELDS, "features": ["image_to_image"], "adapters": None})

    check_shot(shot(image=IMAGE), card)
    with pytest.raises(FeatureMissing) as caught:
        check_shot(shot(image=IMAGE, mask=MASK), card)
    assert "mask" == caught.value.field


def test_strength_has_defaults() -> None:
    """All noise without an image; with one, the strength given or that of its use."""
    assert 1.0 == shot().start
    assert DEFAULT_STRENGTH == shot(image=IMAGE).start
    assert DEFAULT_INPAINT_STRENGTH == shot(image=IMAGE, mask=MASK).start
    assert 0.3 == shot(image=IMAGE, mask=MASK, strength=0.3).start


@pytest.mark.parametrize(
    "changes",
    [{"adapters": None}, {"features": []}, {"features": ["adapters", "inpainting"]}, {"features": ["fly"]}],
)
def test_a_card_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    """Adapters are listed and described together, a mask needs an image, and features are known ones."""
    with pytest.raises(ValueError, match=r"adapters|inpainting|Input should be"):
        ModelCard.model_validate({**FIELDS, **changes})

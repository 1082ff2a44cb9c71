"""Vision transformers from a model hub as classifiers of ours: their weights without torch, their card from their config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safety import categories as ids
from safety.image_screen import ScreenFault
from safety.onnx_screen import OnnxImageScreen, ScreenFiles, ramp, run_model
from safety.screen_card import KnownAnswer, Label, ScreenCard
from safety.screens.vit_graph import NotAVisionTransformer, VitShape, vit_graph
from schemas.errors import ScreenMissing

#: Ramps whose answers a new classifier gives once, to be compared at every start from then on.
_RAMPS: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...] = (
    ((0, 0, 0), (255, 255, 255)),
    ((230, 170, 140), (120, 70, 50)),
    ((20, 60, 200), (240, 220, 40)),
)


@dataclass(frozen=True, kw_only=True)
class HubClassifier:
    """What is known of a classifier before its files are read."""

    name: str
    repository: str
    licence: str
    resize: Literal["bilinear", "bicubic"]
    #: Label, in lower case, to the category it counts for.
    categories: Mapping[str, str]
    #: Where its config does not say.
    heads: int
    note: str


KNOWN: Mapping[str, HubClassifier] = {
    one.name: one
    for one in (
        HubClassifier(
            name="marqo",
            repository="Marqo/nsfw-image-detection-384",
            licence="Apache-2.0",
            resize="bicubic",
            categories={"nsfw": ids.SEXUAL},
            heads=3,
            note="ViT-tiny at 384 pixels; its makers state 98.56 % accuracy on pictures of their own; sexual content only",
        ),
        HubClassifier(
            name="falconsai",
            repository="Falconsai/nsfw_image_detection",
            licence="Apache-2.0",
            resize="bilinear",
            categories={"nsfw": ids.SEXUAL},
            heads=12,
            note="ViT-B/16 at 224 pixels; sexual content only",
        ),
    )
}


def convert(known: HubClassifier, *, config: bytes, weights: bytes, sha256: str | None) -> ScreenFiles:
    """The classifier out of its config.json and model.safetensors; ScreenMissing for files that are not its own.

    `sha256` is the digest that the weights must have; without one they are taken as they are. The known answers of the
    card are what the converted model says now: they show later changes, not a wrong conversion.
    """
    found = hashlib.sha256(weights).hexdigest()
    if sha256 is not None and sha256.lower() != found:
        raise ScreenMissing(
            f"the weights of {known.name} have the digest {found}, not the one that was named",
            field="sha256",
            limit=sha256,
        )
    try:
        described = _Description(json.loads(config), known)
        model = vit_graph(_tensors(weights), described.shape)
        return ScreenFiles(model=model, card=_card(known, described, model, found))
    except (NotAVisionTransformer, ScreenFault, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScreenMissing(
            f"the files of {known.name} cannot be used: {error}", field="image_screens"
        ) from error


class _Description:
    """What a config.json of timm or of transformers says."""

    def __init__(self, config: Any, known: HubClassifier) -> None:
        if "architecture" in config:
            inner = config.get("pretrained_cfg", {})
            self.labels = [str(name) for name in config.get("label_names") or inner["label_names"]]
            side, heads, epsilon = inner["input_size"][1], known.heads, 1e-6
            self.mean, self.std = tuple(inner["mean"]), tuple(inner["std"])
            plain = inner["input_size"][1:] == [side, side] and config.get("global_pool", "token") == "token"
        else:
            self.labels = [str(config["id2label"][str(number)]) for number in range(len(config["id2label"]))]
            side, heads, epsilon = (
                config["image_size"],
                config["num_attention_heads"],
                config["layer_norm_eps"],
            )
            self.mean = self.std = (0.5, 0.5, 0.5)
            plain = config["hidden_act"] == "gelu" and config.get("qkv_bias", True)
        if not plain:
            raise ValueError("it is not a plain vision transformer")
        self.shape = VitShape(side=int(side), heads=int(heads), norm_epsilon=float(epsilon))


def _tensors(weights: bytes) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return {name: values.astype(np.float32) for name, values in load(weights).items()}
    except SafetensorError as error:
        raise ValueError(f"the weights are damaged: {error}") from error


def _card(known: HubClassifier, described: _Description, model: bytes, weights_sha256: str) -> ScreenCard:
    labels = tuple(Label(name=name, category=known.categories.get(name.lower())) for name in described.labels)
    side = described.shape.side
    draft = ScreenCard(
        name=known.name,
        version=weights_sha256[:12],
        licence=known.licence,
        size=(side, side),
        layout="NCHW",
        resize=known.resize,
        mean=described.mean,
        std=described.std,
        output="logits",
        labels=labels,
        known_answers=(KnownAnswer(left=(0, 0, 0), right=(0, 0, 0), outputs=(0.0,) * len(labels)),),
        provenance=f"{known.repository}, weights {weights_sha256}; {known.note}; known answers are those of its first run here",
    )
    return ScreenCard(**dict(draft) | {"known_answers": _answers(draft, model)})


def _answers(card: ScreenCard, model: bytes) -> tuple[KnownAnswer, ...]:
    screen = OnnxImageScreen(card=card, session=run_model(model), model_sha256="")
    pictures = [ramp(left, right, card.size) for left, right in _RAMPS]
    said = screen.outputs(pictures)
    if not np.isfinite(said).all():
        raise ValueError("the model gives no probabilities")
    return tuple(
        KnownAnswer(left=left, right=right, outputs=tuple(float(value) for value in row), tolerance=0.001)
        for (left, right), row in zip(_RAMPS, said, strict=True)
    )

"""Vision transformers from a hub: converted without torch, equal to transformers' own on the same weights."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from safety.screens.vit_classifier import KNOWN, convert
from schemas.errors import ScreenMissing

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.numpy")
pytestmark = pytest.mark.train

SIDE = 48
#: Marqo's proportions (12 blocks, 3 heads of 64), with fewer blocks and a smaller picture.
SHAPE = {
    "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 768, "image_size": SIDE,
    "patch_size": 16, "hidden_act": "gelu", "qkv_bias": True,
}  # fmt: skip


@pytest.fixture(scope="module", params=["marqo", "falconsai"])
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Any, bytes, bytes]:
    """Which classifier's layout, transformers' model with random weights, and its files in that layout."""
    timm = request.param == "marqo"
    labels = {0: "NSFW", 1: "SFW"} if timm else {0: "normal", 1: "nsfw"}
    epsilon = 1e-6 if timm else 1e-12
    config = transformers.ViTConfig(
        **SHAPE,
        layer_norm_eps=epsilon,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )
    torch.manual_seed(4)
    model = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    config_file, weights = (folder / "config.json").read_bytes(), (folder / "model.safetensors").read_bytes()
    if not timm:
        return "falconsai", model, config_file, weights
    return (
        "marqo",
        model,
        json.dumps(timm_config()).encode(),
        safetensors.save(as_timm(safetensors.load(weights))),
    )


def timm_config() -> dict[str, Any]:
    inner = {"input_size": [3, SIDE, SIDE], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    return {
        "architecture": "vit_tiny_patch16_384",
        "num_classes": 2,
        "global_pool": "token",
        "label_names": ["NSFW", "SFW"],
        "pretrained_cfg": inner,
    }


def as_timm(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Under timm's names, written down by hand so that the converter's own table is not its judge."""
    named = {
        "cls_token": tensors["vit.embeddings.cls_token"], "pos_embed": tensors["vit.embeddings.position_embeddings"],
        "patch_embed.proj.weight": tensors["vit.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": tensors["vit.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": tensors["vit.layernorm.weight"], "norm.bias": tensors["vit.layernorm.bias"],
        "head.weight": tensors["classifier.weight"], "head.bias": tensors["classifier.bias"],
    }  # fmt: skip
    for number in range(SHAPE["num_hidden_layers"]):  # type: ignore[call-overload]
        old, new = f"vit.encoder.layer.{number}.", f"blocks.{number}."
        for kind in ("weight", "bias"):
            parts = [tensors[f"{old}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            named[f"{new}attn.qkv.{kind}"] = np.concatenate(parts)
            named[f"{new}attn.proj.{kind}"] = tensors[f"{old}attention.output.dense.{kind}"]
            named[f"{new}mlp.fc1.{kind}"] = tensors[f"{old}intermediate.dense.{kind}"]
            named[f"{new}mlp.fc2.{kind}"] = tensors[f"{old}output.dense.{kind}"]
            named[f"{new}norm1.{kind}"] = tensors[f"{old}layernorm_before.{kind}"]
            named[f"{new}norm2.{kind}"] = tensors[f"{old}layernorm_after.{kind}"]
    return named


def test_it_computes_what_transformers_computes(reference: tuple[str, Any, bytes, bytes]) -> None:
    """Random weights in either layout: the same probabilities, and the label called NSFW is the one that counts."""
    name, model, config, weights = reference
    pictures = [
        np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for seed in range(3)
    ]
    files = convert(KNOWN[name], config=config, weights=weights, sha256=hashlib.sha256(weights).hexdigest())

    with torch.no_grad():
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        expected = model((batch - 0.5) / 0.5).logits.softmax(1).numpy()
    screen = files.open()
    assert expected.std(axis=0).min() > 0.01  # the pictures are told apart at all
    np.testing.assert_allclose(screen.outputs(pictures), expected, atol=1e-4)
    column = 0 if name == "marqo" else 1
    assert [one["sexual"] for one in screen.check(pictures)] == pytest.approx(
        expected[:, column].tolist(), abs=1e-4
    )
    assert screen.categories == ("sexual",)
    assert files.card.name == name


def test_other_weights_are_refused(reference: tuple[str, Any, bytes, bytes]) -> None:
    """Weights whose digest is not the one that was named are not even read."""
    name, _, config, weights = reference

    with pytest.raises(ScreenMissing, match="digest"):
        convert(KNOWN[name], config=config, weights=weights, sha256="0" * 64)


def damaged(reference: tuple[str, Any, bytes, bytes], what: str) -> tuple[bytes, bytes]:
    _, _, config, weights = reference
    told, tensors = json.loads(config), safetensors.load(weights)
    last = next(name for name in ("head.bias", "classifier.bias") if name in tensors)
    first = next(name for name in ("pos_embed", "vit.embeddings.position_embeddings") if name in tensors)
    if what == "no config":
        return b"{}", weights
    if what == "no json":
        return b"<html>", weights
    if what == "no weights":
        return config, b"\x00" * 64
    if what == "a weight is missing":
        tensors.pop(last)
    elif what == "another picture size":
        tensors[first] = tensors[first][:, :-1]
    elif what == "nan":
        tensors[last] = tensors[last] * np.nan
    elif what == "no label counts":
        told["label_names"], told["id2label"] = ["cat", "dog"], {"0": "cat", "1": "dog"}
    elif what == "too few labels":
        told["label_names"], told["id2label"] = (
            ["NSFW", "SFW", "other"],
            {"0": "normal", "1": "nsfw", "2": "other"},
        )
    else:
        told["global_pool"], told["hidden_act"] = "avg", "relu"
    return json.dumps(told).encode(), safetensors.save(tensors)


@pytest.mark.parametrize(
    "what",
    [
        "no config", "no json", "no weights", "a weight is missing", "another picture size", "nan", "no label counts",
        "too few labels", "another network",
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused(what: str, reference: tuple[str, Any, bytes, bytes]) -> None:
    """Whatever is wrong with config or weights, the classifier is not there, and one typed error says so."""
    config, weights = damaged(reference, what)

    with pytest.raises(ScreenMissing):
        convert(KNOWN[reference[0]], config=config, weights=weights, sha256=None).open()

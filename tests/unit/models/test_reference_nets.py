"""Figures from a user's own reference networks, on tiny stand-ins for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ModelNotFound, RuntimeMissing, TooFewSamples
from models.evaluation.distances import frechet_feature_distance, inception_score
from models.evaluation.reference_nets import clip_score, inception_figures

torch = pytest.importorskip("torch", reason="part of the [train] extra")
pytest.importorskip("torchmetrics", reason="part of the [train] extra")

pytestmark = pytest.mark.train

_FEATURES = 6


def noise_pictures(count: int, seed: int, darker: int = 0) -> list[np.ndarray]:
    """Random patches."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 256 - darker, (4, 4, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        for _ in range(count)
    ]


class FeaturesOnly(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Means of six tiles of a picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x.float() / 255, [1, 2]).flatten(1)


class FeaturesAndLogits(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The same with logits beside them."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.nn.functional.adaptive_avg_pool2d(x.float() / 255, [1, 2]).flatten(1)
        return features, features * 10


class StyleGanConvention(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Features where asked for, else probabilities."""

    def forward(
        self,
        x: torch.Tensor,
        return_features: bool = False,
        use_fp16: bool = False,
        no_output_bias: bool = False,
    ) -> torch.Tensor:
        features = torch.nn.functional.adaptive_avg_pool2d(x.float() / 255, [1, 2]).flatten(1)
        return features if return_features else (features * 10).softmax(1)


def saved(net: torch.nn.Module, path: Path) -> Path:
    """As TorchScript."""
    torch.jit.script(net).save(str(path))
    return path


def tile_means(pictures: list[np.ndarray]) -> np.ndarray:
    """What the stand-ins compute, in numpy."""
    return np.stack([p.reshape(32, 2, 16, 3).mean((0, 2)).T.ravel() / 255 for p in pictures])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("net", [FeaturesAndLogits, StyleGanConvention])
def test_figures_are_those_of_our_own_arithmetic(net: type, tmp_path: Path) -> None:
    """torchmetrics and our numpy forms agree on the same features: Frechet distance and inception score."""
    pictures, real = noise_pictures(30, 0, darker=60), noise_pictures(40, 1)

    figures = inception_figures(saved(net(), tmp_path / "net.pt"), pictures, real)

    a, b = tile_means(pictures), tile_means(real)
    powers = np.exp(a * 10)
    assert figures["FID"] == pytest.approx(frechet_feature_distance(a, b), rel=1e-3, abs=1e-5)
    assert figures["inception_score"] == pytest.approx(
        inception_score(powers / powers.sum(1, keepdims=True)), rel=1e-3
    )
    assert (30, 40, _FEATURES, "net.pt") == (
        figures["count"], figures["real_count"], figures["features"], figures["weights"],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_logits_there_is_no_inception_score(tmp_path: Path) -> None:
    """A net that gives features alone is not asked for classes."""
    figures = inception_figures(
        saved(FeaturesOnly(), tmp_path / "net.pt"), noise_pictures(8, 0), noise_pictures(8, 1)
    )

    assert "inception_score" not in figures
    assert {"FID", "KID", "KID_deviation"} <= set(figures)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fid_refuses_fewer_pictures_than_features(tmp_path: Path) -> None:
    """Five pictures cannot fix six features; the error says how many it takes."""
    with pytest.raises(TooFewSamples, match=f"at least {_FEATURES}"):
        inception_figures(
            saved(FeaturesOnly(), tmp_path / "net.pt"), noise_pictures(5, 0), noise_pictures(9, 1)
        )


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """A path that is not there is the user's to correct; nothing is fetched."""
    with pytest.raises(ModelNotFound, match=r"none\.pt"):
        inception_figures(tmp_path / "none.pt", [], [])
    for place in ("ViT-B-32", "ViT-B-32:nowhere.pt", f"local-dir:{tmp_path / 'none'}"):
        with pytest.raises(ModelNotFound):
            clip_score(place, [], [])
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        clip_score(str(tmp_path), [], [])


def test_a_state_dict_needs_a_package_and_says_so(tmp_path: Path) -> None:
    """`.pth` files are torch-fidelity's."""
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        (tmp_path / "weights.pth").write_bytes(b"x")
        with pytest.raises(RuntimeMissing, match="torch-fidelity"):
            inception_figures(tmp_path / "weights.pth", noise_pictures(2, 0), noise_pictures(2, 1))
    else:
        pytest.skip("torch-fidelity is installed")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of a few hundred random weights with a tokenizer of single letters."""
    transformers = pytest.importorskip("transformers", reason="part of the [train] extra")
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(c) for c in range(97, 123)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    (folder / "vocab.json").write_text(str({t: i for i, t in enumerate(tokens)}).replace("'", '"'))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    size: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = transformers.CLIPConfig(
        text_config={**size, "vocab_size": len(tokens), "max_position_embeddings": 40, "eos_token_id": 1, "bos_token_id": 0},
        vision_config={**size, "image_size": 32, "patch_size": 16}, projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    transformers.CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def test_clip_score_is_a_hundred_times_the_cosine(clip_folder: Path) -> None:
    """The mean of 100 max(cos(picture, prompt), 0), with the user's folder and nothing fetched."""
    import transformers

    pictures, prompts = noise_pictures(3, 0), ["a red mug", "two hats", "x"]

    figures = clip_score(str(clip_folder), pictures, prompts)

    model = transformers.CLIPModel.from_pretrained(clip_folder)
    processor = transformers.CLIPProcessor.from_pretrained(clip_folder)
    batch = processor(text=prompts, images=pictures, return_tensors="pt", padding=True)
    with torch.no_grad():
        out = model(**batch)
    cosines = (out.image_embeds * out.text_embeds).sum(1)
    assert figures["CLIP_score"] == pytest.approx(100 * float(cosines.clamp(min=0).mean()), abs=0.01)
    assert (3, clip_folder.name) == (figures["count"], figures["weights"])

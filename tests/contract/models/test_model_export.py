"""The shipped folder is an ordinary one: torch, diffusers and ONNX draw the same picture. Needs the [train] extra."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")

import torch

from models.card import load_card
from models.networks.autoencoder import build_autoencoder
from models.noise import latent_noise
from models.pipeline import RenderedImage, Shot, TextToImage
from models.training.autoencoder import psnr, reconstruct
from models.training.graphs import DecoderGraph, EncoderGraph
from models.training.latent_statistics import LatentStatistics
from models.training.pack import fold_statistics

pytestmark = pytest.mark.train

STARTER = Path(__file__).parents[3] / "models" / "starter"


def test_folded_statistics_change_nothing() -> None:
    """Normalisation folded into the convolutions decodes to the same picture, and encodes to normalised latents."""
    torch.manual_seed(0)
    model = build_autoencoder(4, (8, 16)).eval()
    statistics = LatentStatistics(torch.randn(4), torch.rand(4) + 0.5)
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        latents = model.encode(images).latent_dist.mean
        expected = model.decode(latents).sample

        fold_statistics(model, statistics)

        folded = model.encode(images).latent_dist.mean
        assert torch.allclose(folded, statistics.normalise(latents), atol=1e-4)
        assert torch.equal(folded, EncoderGraph(model)(images))
        assert torch.allclose(DecoderGraph(model)(folded), expected, atol=1e-4)


def test_psnr_of_a_known_error() -> None:
    """An error of 0.02 everywhere, of a range of 2, is 40 dB."""
    target = torch.zeros(3, 3, 8, 8)

    assert psnr(target + 0.02, target) == pytest.approx(40.0, abs=1e-3)


def test_reconstruction_keeps_the_shape() -> None:
    """Any size of whole latent cells goes in and comes out."""
    assert (2, 3, 24, 40) == reconstruct(build_autoencoder(4, (8, 16)), torch.zeros(2, 3, 24, 40)).shape


@pytest.mark.parametrize(("width", "height"), [(128, 128), (160, 96), (96, 160)])
def test_three_ways_to_one_picture(width: int, height: int) -> None:
    """ONNX INT8, torch and the stock diffusers pipeline draw the same picture from the same noise."""
    from models.diffusers_reference import CALL_DEFAULTS, load_pipeline

    card = load_card(STARTER)
    prompt, usual = "a red mug on a white background", card.guidance.default
    shot = Shot(prompt=prompt, seed=5, width=width, height=height, steps=8, guidance=usual)
    int8 = TextToImage.open(STARTER).render([shot])[0]
    fp32 = TextToImage.open(STARTER, runtime="torch", precision="fp32").render([shot])[0]
    noise = torch.from_numpy(latent_noise(5, card.flow.channels, height // 8, width // 8))[None]
    pipe = load_pipeline(STARTER)
    stock = pipe(
        prompt, latents=noise, width=width, height=height, num_inference_steps=8, guidance_scale=usual,
        output_type="np", **CALL_DEFAULTS,
    ).images[0]  # fmt: skip

    assert isinstance(int8, RenderedImage)
    assert isinstance(fp32, RenderedImage)
    reference = stock * 255
    assert np.abs(fp32.pixels - reference).mean() < 2
    assert np.abs(int8.pixels - reference).mean() < 6

"""What is exported computes what was trained: eager, diffusers and ONNX agree in every size. Needs the [train] extra."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")

import torch

from models.noise import latent_noise
from models.pipeline import RenderedImage, Shot, TextToImage
from models.positions import position_table
from models.training.autoencoder import build_autoencoder, psnr, reconstruct
from models.training.config import TransformerRecipe
from models.training.export import example_inputs, export_graph
from models.training.graphs import DecoderGraph, TransformerGraph
from models.training.latents import LatentStatistics
from models.training.pack import fold_statistics
from models.training.transformer import build_transformer, predict_velocity

pytestmark = pytest.mark.train

STARTER = Path(__file__).parents[3] / "models" / "starter"
TINY = TransformerRecipe(minutes=1, width=32, layers=1, head_width=16, text_width=32)


@pytest.fixture
def transformer() -> TransformerGraph:
    """A tiny transformer with random weights in every layer."""
    torch.manual_seed(0)
    model = build_transformer(TINY, channels=4, sample_size=8)
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return TransformerGraph(model).eval()


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 5), (5, 3)])
def test_our_position_table_is_that_of_diffusers(
    transformer: TransformerGraph, rows: int, columns: int
) -> None:
    """The spelt-out transformer equals the stock forward, whose table diffusers computes itself, in every shape."""
    sample, sigma, text, mask, positions = example_inputs(transformer, "transformer", 2, 5, rows, columns)

    with torch.no_grad():
        ours = transformer(sample, sigma, text, mask, positions)
        stock = predict_velocity(transformer.model, sample, sigma, text, mask)

    assert torch.allclose(ours, stock, atol=1e-5)
    assert (1, rows * columns, 32) == position_table(rows, columns, 32, 4).shape


def test_export_keeps_every_shape_free(transformer: TransformerGraph, tmp_path: Path) -> None:
    """The ONNX file agrees with torch on batches, text lengths and sizes it was not traced with."""
    assert export_graph(transformer, "transformer", tmp_path / "tiny.onnx") < 1e-4


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

    prompt = "a red mug on a white background"
    shot = Shot(prompt=prompt, seed=5, width=width, height=height, steps=4, guidance=3.0)
    int8 = TextToImage.open(STARTER).render([shot])[0]
    fp32 = TextToImage.open(STARTER, runtime="torch", precision="fp32").render([shot])[0]
    noise = torch.from_numpy(latent_noise(5, 8, height // 8, width // 8))[None]
    pipe = load_pipeline(STARTER)
    stock = pipe(
        prompt, latents=noise, width=width, height=height, num_inference_steps=4, guidance_scale=3.0,
        output_type="np", **CALL_DEFAULTS,
    ).images[0]  # fmt: skip

    assert isinstance(int8, RenderedImage)
    assert isinstance(fp32, RenderedImage)
    reference = stock * 255
    assert np.abs(fp32.pixels - reference).mean() < 2
    assert np.abs(int8.pixels - reference).mean() < 6

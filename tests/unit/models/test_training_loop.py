"""The training loop on tiny networks: losses fall, interrupted runs repeat themselves, caches never go stale."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")
pytest.importorskip("skia", reason="skia is part of the [train] extra")
pytest.importorskip("accelerate", reason="accelerate is part of the [train] extra")

import numpy as np
import torch
from safetensors.torch import load_file

from models.training.average import WeightAverage
from models.training.latent_cache import EncodedPictures, LatentCache, encoder_digest
from models.training.latent_statistics import LatentStatistics
from models.training.latents import open_cache
from models.training.pack import pack
from models.training.phase import Turn, grid
from models.training.recipe import Bucket, StartFrom
from models.training.stages import build_phase, run_stage
from models.training.weights import (
    WeightsMissing,
    WrongStart,
    begin_with,
    fresh_transformer,
    load_autoencoder,
)
from tests.unit.models.tiny_recipe import tiny_recipe

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which all stages of the tiny recipe have run."""
    work = tmp_path_factory.mktemp("work")
    recipe = tiny_recipe()
    for stage in recipe.stages:
        run_stage(recipe, stage.name, work)
    return work


@pytest.mark.parametrize("name", ["autoencoder", "transformer", "distil", "decoder"])
def test_an_interrupted_run_repeats_the_losses_of_an_uninterrupted_one(
    name: str, trained: Path, tmp_path: Path
) -> None:
    """Stopped in the middle, with all random states disturbed, and resumed: losses and averaged weights equal bit for bit."""
    recipe = tiny_recipe()
    for work in (tmp_path / "whole", tmp_path / "parts"):
        shutil.copytree(trained, work, ignore=lambda _, names: {name} & set(names))
    whole = run_stage(recipe, name, tmp_path / "whole")

    first = run_stage(recipe, name, tmp_path / "parts", stop_at_step=4)
    torch.manual_seed(12345)
    np.random.seed(6)
    second = run_stage(recipe, name, tmp_path / "parts")

    assert whole == first + second
    assert (4, 4) == (len(first), len(second))
    for file in sorted((tmp_path / "whole" / name).glob("*.safetensors")):
        ours, theirs = load_file(file), load_file(tmp_path / "parts" / name / file.name)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_autoencoders_loss_falls(tmp_path: Path) -> None:
    """A tiny autoencoder learns something about renders in a few seconds."""
    losses = run_stage(tiny_recipe(steps=80), "autoencoder", tmp_path)

    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_transformers_loss_falls(trained: Path, tmp_path: Path) -> None:
    """A tiny transformer learns something about latents in a few seconds."""
    shutil.copytree(trained, tmp_path / "w", ignore=lambda _, names: {"transformer", "distil"} & set(names))

    losses = run_stage(tiny_recipe(steps=120), "transformer", tmp_path / "w")

    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])


def test_a_run_leaves_a_log_samples_and_few_checkpoints(trained: Path) -> None:
    """What a reader needs is there, and old checkpoints are gone."""
    folder = trained / "transformer"

    assert (folder / "log.jsonl").read_text().count("\n") >= 1
    assert list(folder.glob("samples-*.png"))
    assert list((folder / "tensorboard").iterdir())
    assert 1 <= len(list(folder.glob("step-*"))) <= 2
    assert not list(trained.rglob("*.writing"))


def test_a_trained_work_folder_packs_into_a_model_that_diffusers_opens(trained: Path, tmp_path: Path) -> None:
    """The packed transformer is the trained one, under the stock class and under ours."""
    from diffusers import PixArtTransformer2DModel

    from models.networks.transformer import ControlPixArt

    pack(tiny_recipe(), trained, tmp_path / "model")

    stock = PixArtTransformer2DModel.from_pretrained(tmp_path / "model", subfolder="transformer")
    ours = ControlPixArt.from_pretrained(tmp_path / "model", subfolder="transformer")
    published = load_file(trained / "distil" / "transformer.safetensors")
    assert torch.equal(ours.control_embed.weight.half(), published["control_embed.weight"].half())
    assert torch.equal(stock.proj_out.weight.half(), published["proj_out.weight"].half())


def test_the_same_turn_gives_the_same_batch_and_another_turn_another(trained: Path) -> None:
    """Batches are a function of seed, stage, step and process; all processes draw the same size at a step."""
    recipe = tiny_recipe()
    phase = build_phase(recipe, recipe.stage("transformer"), trained)  # type: ignore[arg-type]

    def clean(step: int, rank: int) -> torch.Tensor:
        turn = Turn(seed=1, stage="transformer", step=step, rank=rank, ranks=2)
        torch.manual_seed(turn.draw().getrandbits(60))
        return phase.batch(turn)["clean"]

    assert torch.equal(clean(3, 0), clean(3, 0))
    assert not torch.equal(clean(3, 0), clean(3, 1))
    assert all(clean(step, 0).shape == clean(step, 1).shape for step in range(12))
    assert 2 == len({clean(step, 0).shape for step in range(12)})


def test_latents_of_another_encoder_are_never_found(trained: Path) -> None:
    """The cache is named by its encoder: a retrained decoder finds it, a changed encoder does not."""
    recipe = tiny_recipe()
    model = load_autoencoder(trained, recipe)
    bucket = recipe.buckets[0]
    full = len(open_cache(trained, model).table(bucket))
    with torch.no_grad():
        model.decoder.conv_in.weight += 1
        assert len(open_cache(trained, model).table(bucket)) == full == 28
        model.encoder.conv_in.weight += 1e-3

    assert 0 == len(open_cache(trained, model).table(bucket))


def test_finished_shards_are_not_encoded_again(trained: Path) -> None:
    """Running the stage twice touches no file."""
    files = {path: path.stat().st_mtime_ns for path in (trained / "latents").rglob("*.safetensors")}

    run_stage(tiny_recipe(), "latents", trained)

    assert files == {path: path.stat().st_mtime_ns for path in (trained / "latents").rglob("*.safetensors")}
    assert 3 == len(files)


def test_a_cache_gives_back_what_was_put_in(tmp_path: Path) -> None:
    """Latents, edges, weights and labels survive, over several shards; a source names its rows and captions."""
    bucket, cache = Bucket(width=32, height=16, share=1), LatentCache(tmp_path, "ab" * 32)
    edges = (np.random.default_rng(0).random((3, 16, 32)) > 0.8).astype(np.uint8)
    latents = torch.randn(3, 4, 2, 4)
    for name, rows in (("a", [0, 1]), ("b", [2])):
        cache.add(
            bucket,
            name,
            EncodedPictures(
                latents=latents[rows],
                edges=edges[rows],
                digests=[bytes([row]) * 32 for row in rows],
                labels=[{"caption": str(row)} for row in rows],
                weights=torch.zeros(1, 2, 4, dtype=torch.uint8) if name == "b" else None,
            ),
        )

    table = cache.table(bucket)
    assert 3 == len(table)
    assert torch.equal(table.latents([2, 0]), latents[[2, 0]].half())
    assert np.array_equal(table.edges([2, 1])[:, 0].numpy(), edges[[2, 1]])
    weights = table.weights([0, 2])
    assert weights is not None
    assert (1.0, 0.0) == (float(weights[0].min()), float(weights[1].max()))

    cache.note_source(bucket, {bytes([2]) * 32: "two", bytes([9]) * 32: "gone"})
    told = cache.table(bucket)
    assert [{"caption": "two"}] == told.labels
    assert torch.equal(told.latents([0]), latents[[2]].half())


def test_weights_to_start_from_are_checked(tmp_path: Path) -> None:
    """A file that is missing or is another one stops the stage in plain words; fitting tensors are taken over."""
    from models.card import file_sha256
    from models.training.checkpoint import save_weights

    recipe, source = tiny_recipe(), fresh_transformer(tiny_recipe())
    torch.nn.init.normal_(source.proj_out.weight)
    path = tmp_path / "old.safetensors"
    save_weights(source.state_dict(), path)

    def start(sha256: str, file: str = "old.safetensors") -> torch.Tensor:
        settings = StartFrom(part="transformer", file=Path(file), sha256=sha256)
        stage = recipe.stage("transformer").model_copy(update={"start_from": (settings,)})
        model = fresh_transformer(recipe)
        begin_with(tmp_path, stage, "transformer", model)  # type: ignore[arg-type]
        return model.proj_out.weight

    assert torch.equal(start(file_sha256(path)), source.proj_out.weight)
    with pytest.raises(WrongStart, match="another sha256"):
        start("0" * 64)
    with pytest.raises(WrongStart, match="not in"):
        start("0" * 64, "absent.safetensors")


def test_a_stage_without_its_forerunners_says_what_is_missing(tmp_path: Path) -> None:
    """Not a stack trace about a file, but which network has not been trained."""
    with pytest.raises(WeightsMissing, match="autoencoder"):
        run_stage(tiny_recipe(), "transformer", tmp_path)


def test_statistics_restore_what_they_normalised() -> None:
    """Normalised latents have mean 0 and deviation 1 per channel, and the way back is exact."""
    latents = torch.randn(50, 3, 4, 4) * torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1, 1) + 7
    statistics = LatentStatistics.of(latents)
    normal = statistics.normalise(latents)

    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(normal.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    assert torch.allclose(statistics.restore(normal), latents, atol=1e-4)


def test_the_average_lags_behind_and_is_only_lent_to_the_model() -> None:
    """Applied, the model holds the average; afterwards its live weights again."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    average = WeightAverage([parameter], decay=0.9)
    with torch.no_grad():
        parameter.fill_(1.0)
    average.update(step=1000)

    with average.applied():
        assert 0.1 == pytest.approx(parameter.item())
    assert 1.0 == parameter.item()


def test_a_grid_places_pictures_row_by_row() -> None:
    """Three pictures in two columns: the fourth place is white."""
    pictures = torch.stack([torch.full((3, 2, 2), value) for value in (-1.0, 0.0, 1.0)])
    sheet = grid(pictures, 2)

    assert (4, 4, 3) == sheet.shape
    assert [0, 128, 255, 255] == [sheet[0, 0, 0], sheet[0, 2, 0], sheet[2, 0, 0], sheet[2, 2, 0]]


def test_the_encoder_digest_sees_every_weight() -> None:
    """Any change of any weight changes it."""
    layer = torch.nn.Linear(2, 2)
    before = encoder_digest(layer)
    with torch.no_grad():
        layer.bias[1] += 1e-6

    assert before != encoder_digest(layer)


def test_nearly_pure_noise_is_drawn_as_often_as_the_recipe_says() -> None:
    """A logit-normal leaves the levels of a sampler's first step out; `noise_share` brings them in."""
    from types import SimpleNamespace

    from models.training.phases.transformer import TransformerPhase

    torch.manual_seed(0)
    clean = torch.zeros(4000, 1, 1, 1)

    def share_above(**settings: float) -> float:
        stage = recipe_stage.model_copy(update=settings)
        sigma, _, _ = TransformerPhase.noised(SimpleNamespace(stage=stage), clean)  # type: ignore[arg-type]
        assert 0 < sigma.min() and sigma.max() <= 1
        return float((sigma > 0.95).float().mean())

    recipe_stage = tiny_recipe().stage("transformer")
    assert share_above() < 0.02
    assert 0.18 < share_above(noise_share=0.2) < 0.24

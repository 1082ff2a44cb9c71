"""Runs the stages of a recipe, each from what the stages above it left in the work folder."""

from pathlib import Path

from models.training.checkpoint import RunFolder
from models.training.launch import Sharding, open_accelerator
from models.training.phase import Phase
from models.training.progress import LiveReporter, Reporter
from models.training.recipe import (
    AutoencoderStage,
    CatalogueData,
    DecoderStage,
    DistilStage,
    Recipe,
    TextStage,
    TrainedStage,
    TransformerStage,
)
from models.training.trainer import Trainer
from models.training.weights import begin_with, load_autoencoder


def run_stage(
    recipe: Recipe, name: str, work: Path, sharding: Sharding = "none", stop_at_step: int | None = None
) -> list[float]:
    """Run one stage, or go on with it where its newest checkpoint stands; the losses of this process's steps."""
    stage = recipe.stage(name)
    if isinstance(stage, TrainedStage):
        return train_stage(recipe, stage, work, sharding, stop_at_step)
    if isinstance(stage, TextStage):
        from models.training.frozen_texts import encode_texts

        encode_texts(recipe, stage, work)
        return []
    from models.training.latents import encode_pictures

    encode_pictures(recipe, stage, work)
    return []


def train_stage(
    recipe: Recipe,
    stage: TrainedStage,
    work: Path,
    sharding: Sharding = "none",
    stop_at_step: int | None = None,
) -> list[float]:
    """Run a stage that changes weights."""
    accelerator = open_accelerator(stage, sharding)
    folder = RunFolder(work / stage.name)
    reporter = LiveReporter(folder.path) if accelerator.is_main_process else Reporter()
    phase = build_phase(recipe, stage, work)
    trainer = Trainer(phase, stage, recipe.seed, folder, accelerator, reporter)
    return trainer.run(stop_at_step)


def build_phase(recipe: Recipe, stage: TrainedStage, work: Path) -> Phase:
    """The phase of a stage, with the networks it begins with."""
    import torch

    torch.manual_seed(recipe.seed)
    if isinstance(stage, AutoencoderStage | DecoderStage):
        return _autoencoder_phase(recipe, stage, work)
    from models.training.phases.transformer import build_transformer_phase

    assert isinstance(stage, TransformerStage | DistilStage)
    return build_transformer_phase(recipe, stage, work)


def _autoencoder_phase(recipe: Recipe, stage: AutoencoderStage | DecoderStage, work: Path) -> Phase:
    from models.networks.autoencoder import build_autoencoder
    from models.training.phases.autoencoder import AutoencoderPhase, DecoderPhase
    from models.training.pictures import RenderedPictures

    assert isinstance(recipe.data, CatalogueData)  # recipe_check says so in words
    pictures = RenderedPictures(recipe.buckets_of(stage), recipe.data.workers)
    if isinstance(stage, DecoderStage):
        return DecoderPhase(load_autoencoder(work, recipe, stage.name), stage, pictures)
    shape = recipe.networks.autoencoder
    model = build_autoencoder(shape.latent_channels, shape.widths)
    begin_with(work, stage, "autoencoder", model)
    return AutoencoderPhase(model, stage, pictures, stage.kl_weight)

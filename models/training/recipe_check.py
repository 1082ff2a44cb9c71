"""Why a recipe cannot run, in plain words, found before anything is allocated."""

from collections.abc import Iterator
from pathlib import Path

from models.training.recipe import (
    AutoencoderStage,
    CatalogueData,
    DecoderStage,
    DistilStage,
    LatentStage,
    Recipe,
    ShardData,
    Stage,
    TextStage,
    TrainedStage,
    TransformerStage,
)


def problems_of(recipe: Recipe) -> list[str]:
    """What is wrong with it on any machine, one sentence each; empty where it can run."""
    found = list(_network_problems(recipe))
    for number, stage in enumerate(recipe.stages):
        found += [f"stage {stage.name}: {problem}" for problem in _stage_problems(recipe, stage, number)]
    return found


def missing_inputs(recipe: Recipe, work: Path) -> list[str]:
    """Files and folders the recipe names that are not in the work folder, to which its paths are relative."""
    found = []
    autoencoder, text = recipe.networks.autoencoder.folder, recipe.networks.text_encoder.folder
    for folder, part in ((autoencoder, "vae"), (text, "text_encoder")):
        if folder is not None and not (work / folder / part).is_dir():
            found.append(f"there is no {folder}/{part} in {work}")
    if isinstance(recipe.data, ShardData) and not any((work / recipe.data.folder).glob("**/*.tar")):
        found.append(
            f"there are no shards (*.tar) in {work / recipe.data.folder}; `aquatint curate` makes them"
        )
    for stage in recipe.stages:
        for start in getattr(stage, "start_from", ()):
            if not (work / start.file).is_file():
                found.append(f"stage {stage.name} starts from {start.file}, which is not in {work}")
    return found


def _network_problems(recipe: Recipe) -> Iterator[str]:
    autoencoder, text = recipe.networks.autoencoder, recipe.networks.text_encoder
    if autoencoder.folder is not None:
        if any(stage.kind in ("autoencoder", "decoder") for stage in recipe.stages):
            yield "networks.autoencoder.folder names a frozen autoencoder, but a stage would train one"
    elif len(autoencoder.widths) != 2:
        yield "networks.autoencoder.widths: two widths make eight pixels per latent cell, which all else counts on"
    if autoencoder.folder is None and any(width % 8 for width in autoencoder.widths):
        yield "networks.autoencoder.widths: each must be a multiple of 8, the groups of its norms"
    if text.folder is None and text.width % 32:
        yield "networks.text_encoder.width must be a multiple of 32, the width of its heads"
    if text.folder is not None and isinstance(recipe.data, CatalogueData):
        yield "a frozen text encoder needs captions that stay the same: use data of kind shards"


def _stage_problems(recipe: Recipe, stage: Stage, number: int) -> Iterator[str]:
    above = recipe.stages[:number]
    if isinstance(stage, LatentStage):
        if isinstance(recipe.data, CatalogueData) and stage.count is None:
            yield "a catalogue has no end: say how many pictures in `count`"
        if recipe.networks.autoencoder.folder is None and not _trains(above, "autoencoder"):
            yield "there is no stage above it that trains an autoencoder, and no frozen one is named"
    if isinstance(stage, TextStage) and recipe.networks.text_encoder.folder is None:
        yield "it caches the answers of a frozen text encoder, but networks.text_encoder.folder names none"
    if isinstance(stage, AutoencoderStage | DecoderStage) and not isinstance(recipe.data, CatalogueData):
        yield "autoencoders are trained on the catalogue; for shards name a trained one in networks.autoencoder.folder"
    if isinstance(stage, DecoderStage) and not _trains(above, "autoencoder"):
        yield "there is no stage above it that trains the encoder it goes with"
    if isinstance(stage, TransformerStage):
        yield from _denoiser_problems(recipe, stage, above)
    if isinstance(stage, TrainedStage):
        yield from _length_problems(stage)


def _denoiser_problems(recipe: Recipe, stage: TransformerStage, above: tuple[Stage, ...]) -> Iterator[str]:
    sizes = {bucket.name for bucket in recipe.buckets_of(stage)}
    encoded = {
        bucket.name
        for other in above
        if isinstance(other, LatentStage)
        for bucket in recipe.buckets_of(other)
    }
    if sizes - encoded:
        yield f"no stage above it encodes pictures of {', '.join(sorted(sizes - encoded))}"
    if isinstance(stage, DistilStage) and not any(other.kind == "transformer" for other in above):
        yield "there is no transformer above it to learn from"
    if recipe.networks.text_encoder.folder is not None and not any(
        isinstance(other, TextStage) for other in above
    ):
        yield "its text encoder is frozen, but no stage above it caches texts"


def _length_problems(stage: TrainedStage) -> Iterator[str]:
    if stage.steps is not None and stage.steps <= stage.warmup_steps:
        yield f"{stage.steps} steps end before its {stage.warmup_steps} steps of warm-up"


def _trains(stages: tuple[Stage, ...], kind: str) -> bool:
    return any(stage.kind == kind for stage in stages)

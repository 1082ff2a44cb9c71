"""Networks as a recipe describes them, with the newest weights a work folder holds for them."""

from pathlib import Path

from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import nn
from transformers import T5EncoderModel

from models.card import file_sha256
from models.errors import ModelError
from models.networks.autoencoder import build_autoencoder
from models.networks.text import build_text_encoder, build_tokenizer
from models.networks.transformer import ControlPixArt, build_transformer
from models.training.latent_statistics import LatentStatistics
from models.training.recipe import (
    PIXELS_PER_CELL,
    AutoencoderStage,
    DecoderStage,
    DistilStage,
    PartName,
    Recipe,
    Stage,
    TrainedStage,
    TransformerStage,
)
from models.training.widen import State, widen_autoencoder, widen_transformer


class WeightsMissing(ModelError):
    """A stage needs weights that no stage before it has left in the work folder."""


class WrongStart(ModelError):
    """The weights a stage is told to start from are not those of the recipe."""


def trained_parts(stage: Stage) -> tuple[PartName, ...]:
    """The networks a stage publishes."""
    if isinstance(stage, AutoencoderStage | DecoderStage):
        return ("autoencoder",)
    if isinstance(stage, TransformerStage | DistilStage):
        return ("transformer", "text_encoder", "statistics")
    return ()


def newest_weights(work: Path, recipe: Recipe, part: PartName, before: str | None = None) -> Path | None:
    """The file of `part` published by the last stage of the recipe that has one, of those above stage `before`."""
    names = [stage.name for stage in recipe.stages]
    above = recipe.stages[: names.index(before)] if before else recipe.stages
    files = [work / stage.name / f"{part}.safetensors" for stage in above if part in trained_parts(stage)]
    return next((path for path in reversed(files) if path.exists()), None)


def load_autoencoder(work: Path, recipe: Recipe, before: str | None = None) -> AutoencoderKL:
    """The newest autoencoder, or the frozen one the recipe names; raises `WeightsMissing`."""
    shape = recipe.networks.autoencoder
    if shape.folder is not None:
        frozen: AutoencoderKL = AutoencoderKL.from_pretrained(work / shape.folder, subfolder="vae")
        return frozen.eval()
    model = build_autoencoder(shape.latent_channels, shape.widths)
    model.load_state_dict(load_file(_required(work, recipe, "autoencoder", before)))
    return model.eval()


def fresh_transformer(recipe: Recipe) -> ControlPixArt:
    """The transformer with random weights."""
    shape, text = recipe.networks.transformer, recipe.networks.text_encoder
    return build_transformer(
        width=shape.width,
        layers=shape.layers,
        head_width=shape.head_width,
        patch=shape.patch,
        channels=recipe.networks.autoencoder.latent_channels,
        text_width=text.width,
        sample_size=shape.size // PIXELS_PER_CELL,
    )


def fresh_text_encoder(recipe: Recipe) -> T5EncoderModel:
    """Our own text encoder with random weights."""
    shape = recipe.networks.text_encoder
    return build_text_encoder(
        width=shape.width, layers=shape.layers, vocabulary_size=len(build_tokenizer(shape.max_tokens))
    )


def load_transformer(work: Path, recipe: Recipe, before: str | None = None) -> ControlPixArt:
    """The newest transformer; raises `WeightsMissing`."""
    model = fresh_transformer(recipe)
    model.load_state_dict(load_file(_required(work, recipe, "transformer", before)))
    model.eval()
    return model


def load_text_encoder(work: Path, recipe: Recipe, before: str | None = None) -> T5EncoderModel:
    """The newest text encoder of our own; raises `WeightsMissing`."""
    model = fresh_text_encoder(recipe)
    model.load_state_dict(load_file(_required(work, recipe, "text_encoder", before)))
    return model.eval()


def load_statistics(work: Path, recipe: Recipe, before: str | None = None) -> LatentStatistics:
    """What the newest transformer's latents were normalised with; raises `WeightsMissing`."""
    state = load_file(_required(work, recipe, "statistics", before))
    return LatentStatistics(state["mean"], state["deviation"])


def begin_with(work: Path, stage: TrainedStage, part: PartName, model: nn.Module) -> None:
    """Load what the recipe says a part starts from, tensors that fit in name and shape; others keep their random start.

    Weights with fewer latent channels than the recipe's are widened.

    Raises:
        WrongStart: the file is missing, is another one, or fits nowhere.
    """
    for start in stage.start_from:
        if start.part != part:
            continue
        path = work / start.file
        if not path.exists():
            raise WrongStart(
                f"stage {stage.name} starts from {start.file}, which is not in {work}; put it there, or take "
                "`start_from` out of the recipe to train from nothing"
            )
        if file_sha256(path) != start.sha256:
            raise WrongStart(f"{start.file} has another sha256 than the recipe says")
        own = model.state_dict()
        fitting = {
            name: value.float()
            for name, value in _widened(part, load_file(path), own).items()
            if name in own and own[name].shape == value.shape
        }
        if not fitting:
            raise WrongStart(f"nothing in {start.file} fits the {part} of the recipe")
        model.load_state_dict(fitting, strict=False)


def _widened(part: PartName, state: State, own: State) -> State:
    if part == "autoencoder" and "post_quant_conv.weight" in state:
        return widen_autoencoder(state, own)
    if part == "transformer" and "pos_embed.proj.weight" in state:
        patch = state["pos_embed.proj.weight"].shape[-1]
        return widen_transformer(state, own, patch)
    return state


def _required(work: Path, recipe: Recipe, part: PartName, before: str | None) -> Path:
    path = newest_weights(work, recipe, part, before)
    if path is None:
        raise WeightsMissing(
            f"there are no weights of the {part} in {work}: run the stages that train it first"
        )
    return path

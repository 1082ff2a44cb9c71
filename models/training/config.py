"""The training recipe as one frozen object, read from a TOML file."""

import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen table of the recipe; unknown keys are errors, so a misspelt setting cannot pass unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bucket(Section):
    """One picture size and the share of batches drawn in it."""

    width: int
    height: int
    share: float


class AutoencoderRecipe(Section):
    """Joint training of encoder and decoder on fresh renders."""

    minutes: float
    batch: int = 4
    learning_rate: float = 2e-3
    latent_channels: int = 8
    widths: tuple[int, ...] = (64, 96)
    kl_weight: float = 1e-4
    ema_decay: float = 0.998
    warmup_steps: int = 60


class DecoderRecipe(Section):
    """The decoder goes on alone: cached latents stay valid."""

    minutes: float
    batch: int = 4
    learning_rate: float = 1.5e-3
    latent_jitter: float = 0.03


class LatentRecipe(Section):
    """Renders encoded once for the transformer."""

    count: int
    encode_batch: int = 50


class TransformerRecipe(Section):
    """Flow-matching training of the diffusion transformer together with its text encoder."""

    minutes: float
    batch: int = 16
    learning_rate: float = 1e-3
    width: int = 192
    layers: int = 6
    head_width: int = 64
    patch: int = 2
    text_width: int = 128
    text_layers: int = 2
    caption_dropout: float = 0.1
    ema_decay: float = 0.998
    warmup_steps: int = 80
    constant_share: float = 0.6


class MeterRecipe(Section):
    """The small classifier that judges prompt following."""

    minutes: float
    count: int = 8000
    batch: int = 64
    learning_rate: float = 2e-3


class Recipe(Section):
    """Everything that decides a training run; `buckets` share sums to one."""

    seed: int = 0
    buckets: tuple[Bucket, ...]
    autoencoder: AutoencoderRecipe
    decoder: DecoderRecipe
    latents: LatentRecipe
    transformer: TransformerRecipe
    meter: MeterRecipe
    checkpoint_seconds: float = Field(default=60.0, gt=0)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe file; raises `pydantic.ValidationError` naming the wrong field."""
        return cls.model_validate(tomllib.loads(path.read_text()))

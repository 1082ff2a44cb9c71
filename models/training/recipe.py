"""A training recipe: networks, data and stages as one frozen object, read from a TOML file.

Stages run in the order they are written; each may also be run alone. Every stage that trains takes the newest weights
that stages above it have left in the work folder, or those it is told to start from.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: pixels per latent cell of every autoencoder we train
PIXELS_PER_CELL = 8

PartName = Literal["autoencoder", "transformer", "text_encoder", "statistics"]


class Section(BaseModel):
    """A frozen table of the recipe; unknown keys are errors, so a misspelt setting cannot pass unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bucket(Section):
    """One picture size and the share of batches drawn in it."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    share: float = Field(gt=0, le=1)

    @property
    def name(self) -> str:
        """Width x height in pixels."""
        return f"{self.width}x{self.height}"


class AutoencoderShape(Section):
    """The folded autoencoder, whose two widths give eight pixels per latent cell; or a frozen one from a local folder."""

    latent_channels: int = 8
    widths: tuple[int, ...] = (64, 96)
    folder: Path | None = Field(default=None, description="diffusers folder with vae/, used as it is")


class TransformerShape(Section):
    """The diffusion transformer; `size` is the picture side its positions are made for."""

    width: int = Field(default=192, gt=0)
    layers: int = Field(default=6, gt=0)
    head_width: int = Field(default=64, gt=0)
    patch: int = Field(default=2, gt=0)
    size: int = 128

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.head_width:
            raise ValueError(f"width {self.width} is not a multiple of head_width {self.head_width}")
        if self.width % 4:
            raise ValueError(f"width {self.width} is not a multiple of 4, which the position waves need")
        return self


class TextShape(Section):
    """The T5 encoder: our own word-level one, trained with the transformer, or a frozen one from a local folder."""

    width: int = 128
    layers: int = 2
    max_tokens: int = 48
    folder: Path | None = Field(
        default=None, description="diffusers folder with tokenizer/ and text_encoder/"
    )


class Networks(Section):
    """The three networks of a model."""

    autoencoder: AutoencoderShape = AutoencoderShape()
    transformer: TransformerShape = TransformerShape()
    text_encoder: TextShape = TextShape()


class CatalogueData(Section):
    """Renders of the catalogue world, made as they are needed."""

    kind: Literal["catalogue"] = "catalogue"
    workers: int = Field(
        default=0, ge=0, description="processes that draw beside each that trains; 0: it draws itself"
    )


class ShardData(Section):
    """Webdataset shards as `aquatint curate` writes them."""

    kind: Literal["shards"]
    folder: Path


class StartFrom(Section):
    """Weights a stage begins with: a safetensors file, relative to the work folder, known by its digest."""

    part: PartName
    file: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TrainedStage(Section):
    """What all stages that change weights have in common; batches are counted per process."""

    name: str
    buckets: tuple[Bucket, ...] = Field(default=(), description="empty: those of the recipe")
    steps: int | None = Field(default=None, gt=0)
    minutes: float | None = Field(
        default=None, gt=0, description="instead of steps: as many as fit, at the speed measured"
    )
    batch: int = Field(gt=0)
    accumulate: int = Field(default=1, gt=0)
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "constant_then_linear"] = "cosine"
    warmup_steps: int = Field(default=60, gt=0)
    constant_share: float = Field(default=0.6, ge=0, lt=1)
    final_share: float = Field(default=0.02, ge=0, le=1, description="of the learning rate, at the end")
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    precision: Literal["fp32", "bf16"] = "bf16"
    gradient_checkpointing: bool = False
    compile: bool = False
    save_minutes: float = Field(default=1.0, gt=0)
    save_steps: int | None = Field(default=None, gt=0, description="instead of save_minutes")
    keep: int = Field(default=2, gt=0, description="newest checkpoints kept")
    start_from: tuple[StartFrom, ...] = ()

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"{self.name}: give either steps or minutes")
        return self


class AutoencoderStage(TrainedStage):
    """Joint training of encoder and decoder."""

    kind: Literal["autoencoder"]
    name: str = "autoencoder"
    batch: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    kl_weight: float = 1e-4
    log_error_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the mean logarithm of a picture's squared error: what PSNR counts",
    )


class DecoderStage(TrainedStage):
    """The decoder goes on alone: cached latents stay valid."""

    kind: Literal["decoder"]
    name: str = "decoder"
    batch: int = 4
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    latent_jitter: float = Field(default=0.03, description="in standard deviations of the latents")
    log_error_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the mean logarithm of a picture's squared error: what PSNR counts",
    )
    contrast_weight: float = Field(
        default=0.0, ge=0, description="weight of edge energy by 8x8 cell: keeps fine texture"
    )


class LatentStage(Section):
    """Pictures encoded once, with their edge maps, as shards."""

    kind: Literal["latents"]
    name: str = "latents"
    buckets: tuple[Bucket, ...] = ()
    count: int | None = Field(default=None, gt=0, description="renders; shards are taken whole")
    encode_batch: int = 50
    shard_rows: int = 2500


class TextStage(Section):
    """Captions of shards encoded once by a frozen text encoder."""

    kind: Literal["texts"]
    name: str = "texts"
    encode_batch: int = 32
    shard_rows: int = 1000


class TransformerStage(TrainedStage):
    """Flow matching of the diffusion transformer, together with its text encoder where that is not frozen."""

    kind: Literal["transformer"]
    name: str = "transformer"
    batch: int = 16
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant_then_linear"] = "constant_then_linear"
    warmup_steps: int = 80
    caption_dropout: float = Field(default=0.1, ge=0, le=1)
    control_share: float = Field(
        default=0.25, ge=0, le=1, description="of samples that are given their edges"
    )
    noise_mean: float = Field(default=0.2, description="of the logit of the noise level")
    flow_shift: float = Field(
        default=1.0, gt=0, description="moves training towards noise, for larger pictures"
    )
    noise_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="of samples at nearly pure noise, which a logit-normal hardly draws and where the first step decides a picture's tone",
    )


class DistilStage(TransformerStage):
    """A student learns in one call what the teacher says with guidance."""

    kind: Literal["distil"]  # type: ignore[assignment]
    name: str = "distil"
    learning_rate: float = 3e-4
    guidance: float = Field(default=2.5, gt=1, description="that the student has folded in")


Trained = AutoencoderStage | DecoderStage | TransformerStage | DistilStage
Stage = Annotated[
    AutoencoderStage | DecoderStage | LatentStage | TextStage | TransformerStage | DistilStage,
    Field(discriminator="kind"),
]


class Recipe(Section):
    """Everything that decides a training run."""

    seed: int = 0
    buckets: tuple[Bucket, ...] = Field(min_length=1)
    networks: Networks = Networks()
    data: Annotated[CatalogueData | ShardData, Field(discriminator="kind")] = CatalogueData()
    sample_prompts: tuple[str, ...] = Field(
        default=(), description="drawn at every checkpoint of a transformer"
    )
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError("two stages have the same name")
        cell = PIXELS_PER_CELL * self.networks.transformer.patch
        for buckets in (self.buckets, *(getattr(stage, "buckets", ()) for stage in self.stages)):
            if buckets and abs(sum(bucket.share for bucket in buckets) - 1) > 1e-6:
                raise ValueError("the shares of the buckets must sum to 1")
            for bucket in buckets:
                if bucket.width % cell or bucket.height % cell:
                    raise ValueError(f"{bucket.name}: width and height must be multiples of {cell}")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe file; raises `pydantic.ValidationError` naming the wrong field."""
        return cls.model_validate(tomllib.loads(path.read_text("utf-8")))

    def stage(self, name: str) -> Stage:
        """The stage of that name; raises `KeyError`."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name}; there are {', '.join(stage.name for stage in self.stages)}")

    def buckets_of(self, stage: Section) -> tuple[Bucket, ...]:
        """The stage's own buckets, or the recipe's."""
        return getattr(stage, "buckets", ()) or self.buckets

"""`ModelCard`: what a model is and can do, read from the `aquatint.json` of its folder.

The card lists the sha256 of every file that decides pixels, so its own digest covers the weights. README and pictures
are not listed: a typo in prose must not rename every image.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.errors import ModelCorrupt, ModelNotFound

CARD_FILE = "aquatint.json"
#: what an image may ask of a model beyond a prompt
Feature = Literal["image_to_image", "inpainting", "control:edges", "control:sketch", "adapters"]
#: folders whose files decide what an adapter, trained on them, does
_ADAPTER_BASE = ("text_encoder", "tokenizer", "transformer", "vae")


class Frozen(BaseModel):
    """Base of the card's parts: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepRange(Frozen):
    """Denoising steps allowed, and what is taken when nobody says."""

    minimum: int = Field(ge=1)
    maximum: int
    default: int


class GuidanceRange(Frozen):
    """Classifier-free guidance allowed; 1 means none and halves the work."""

    minimum: float = 1.0
    maximum: float
    default: float
    folded: bool = Field(
        default=False,
        description="a usual guidance is distilled into the weights: 1 already follows the prompt, more adds to it",
    )


class Flow(Frozen):
    """How the model denoises: flow matching on latents of `channels`, `pixels_per_cell` pixels a side."""

    channels: int
    pixels_per_cell: int
    patch: int
    shift: float = Field(description="moves the steps towards noise: s t / (1 + (s - 1) t)")
    sampler: Literal["euler", "dpmpp_2m"]
    position_width: int = Field(description="length of a position vector, the transformer's width")
    position_span: int = Field(description="positions run over [0, span) on both axes, whatever the size")


class AdapterSupport(Frozen):
    """Which low-rank adapters the transformer takes: `targets` in each of `layers` blocks, all `width` wide."""

    targets: tuple[str, ...]
    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    max_rank: int = Field(default=64, ge=1, description="of all adapters of one image together")
    max_count: int = Field(default=4, ge=1, description="adapters of one image")


class Vocabulary(Frozen):
    """The words of a closed domain; `synonyms` maps other words to these. Empty for an open domain."""

    kinds: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    synonyms: dict[str, str] = {}
    default_material: str = ""
    default_background: str = ""
    default_layout: str = ""


class Costs(Frozen):
    """Measured: a microbatch of n images takes `fixed_seconds + n * image_seconds` at the default steps and guidance.

    `step_seconds` is the part of `image_seconds` that one step takes, for other step counts.
    """

    fixed_seconds: float
    image_seconds: float
    step_seconds: float
    measured_on: str


class ModelCard(Frozen):
    """All that another room may know about a model without opening it."""

    name: str
    version: str
    family: Literal["pixart"]
    licence: str
    description: str
    domain: Literal["open", "closed"]
    domain_note: str
    sizes: tuple[tuple[int, int], ...] = Field(
        min_length=1, description="(width, height); the first is the default"
    )
    steps: StepRange
    guidance: GuidanceRange
    max_prompt_tokens: int
    features: tuple[Feature, ...] = ()
    adapters: AdapterSupport | None = Field(default=None, description="given where `adapters` is a feature")
    flow: Flow
    vocabulary: Vocabulary = Vocabulary()
    costs: Costs
    files: dict[str, str] = Field(description="relative path to sha256, lower-case hex")

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"{name}: a card may only list files of its own folder")
        return files

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if ("adapters" in self.features) != (self.adapters is not None):
            raise ValueError("the feature adapters and the field adapters go together")
        if "inpainting" in self.features and "image_to_image" not in self.features:
            raise ValueError("the feature inpainting needs image_to_image")
        return self

    @cached_property
    def digest(self) -> str:
        """sha256, hex, of the card as canonical JSON: sorted keys, no spaces, UTF-8."""
        text = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def base_digest(self) -> str:
        """sha256, hex, over the weights an adapter was trained on; other than `digest` it survives new scores and exports."""
        base = {name: sha for name, sha in self.files.items() if name.split("/", 1)[0] in _ADAPTER_BASE}
        text = json.dumps(base, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def load_card(folder: Path | str, verify: bool = True) -> ModelCard:
    """Read a model's card and check every file it lists.

    Args:
        folder: the model's folder.
        verify: False skips the hashing (not the reading), where the same files were verified a moment ago.

    Raises:
        ModelNotFound: there is no `aquatint.json`.
        ModelCorrupt: the card is malformed, or a listed file is missing or has another sha256.
    """
    folder = Path(folder)
    try:
        text = (folder / CARD_FILE).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFound(f"{folder}: no model here, {CARD_FILE} is missing") from None
    except UnicodeDecodeError as error:
        raise ModelCorrupt(CARD_FILE, str(error)) from error
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelCorrupt(CARD_FILE, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if verify:
        for name, expected in card.files.items():
            _verify_file(folder, name, expected)
    return card


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify_file(folder: Path, name: str, expected: str) -> None:
    try:
        actual = file_sha256(folder / name)
    except OSError as error:
        raise ModelCorrupt(name, error.strerror or "unreadable") from error
    if actual != expected:
        raise ModelCorrupt(name, f"sha256 is {actual}, the card says {expected}")

"""The options of a curation as one frozen object; the same names stand in the TOML file."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, field_validator, model_validator

from models.errors import CurationUnusable
from schemas.base import Frozen
from schemas.canonical import digest

PictureFormat: TypeAlias = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]
Size: TypeAlias = tuple[int, int]


class ReadSettings(Frozen):
    """What is read at all."""

    formats: tuple[PictureFormat, ...] = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
    max_bytes: int = Field(64 * 2**20, ge=1)
    max_pixels: int = Field(40_000_000, ge=1)
    #: longer side over shorter side
    max_aspect: float = Field(4.0, ge=1)
    min_side: int = Field(32, ge=1)
    #: a file whose content is another format than its name says is left out, or read by its content
    mislabelled: Literal["skip", "read"] = "skip"
    #: what shows through transparent pixels
    matte: tuple[int, int, int] = (255, 255, 255)
    #: standard deviation of grey levels (0..255) below which a picture is one flat colour
    min_spread: float = Field(1.5, ge=0)


class DuplicateSettings(Frozen):
    """When two pictures count as copies; every distance is in bits, and the search misses none within it."""

    near: bool = True
    #: of 256 bits; 31 is what PDQ's authors recommend
    pdq_radius: int = Field(31, ge=0, le=47)
    #: of 64 bits
    phash_radius: int = Field(10, ge=0, le=11)
    #: "both" hashes must agree, or "either" is enough
    agree: Literal["both", "either"] = "both"
    #: PDQ's own measure of how much there is to see, 0..100; below it only equal pixels are copies
    min_quality: int = Field(50, ge=0, le=100)
    #: largest difference (0..255) between two copies' mean colours in any cell of a 4x4 grid; hashes see no colour, and
    #: a catalogue shows one product in many
    colour_tolerance: float = Field(24.0, ge=0)
    #: whether a mirror image is a copy, too
    mirrored: bool = False


class CaptionSettings(Frozen):
    """How captions are cleaned."""

    rules: bool = True
    max_characters: int = Field(600, ge=1)
    #: "auto" drops pictures without caption where others of the source have one
    empty: Literal["auto", "drop", "keep"] = "auto"


class RewriteSettings(Frozen):
    """Captions anew from an OpenAI-compatible endpoint; off without `url`. The key is never part of the settings."""

    url: str = ""
    model: str = ""
    show_picture: bool = True
    #: longest side of the picture that is sent, in pixels
    picture_side: int = Field(512, ge=64, le=2048)
    timeout_seconds: float = Field(30.0, gt=0)
    retries: int = Field(2, ge=0, le=10)
    concurrency: int = Field(4, ge=1, le=64)
    #: whatever happens, no more calls than this are made, retries included
    max_requests: int = Field(10_000, ge=0)
    #: no further call once the endpoint has counted this many tokens; 0 = no such limit
    max_tokens: int = Field(0, ge=0)
    max_characters: int = Field(400, ge=1)


class OutlierSettings(Frozen):
    """Which pairs of picture and caption are left out."""

    #: "auto": open-clip where weights are given, else the catalogue's own for what it understands
    encoder: Literal["auto", "none", "catalogue", "open-clip"] = "auto"
    #: open_clip's model name, or `local-dir:FOLDER`
    model: str = "ViT-B-32"
    weights: Path | None = None
    device: str = "cpu"
    batch: int = Field(32, ge=1)
    #: the worst so many percent of each caption source; without this and `threshold`, the encoder's own default
    percentile: float | None = Field(None, ge=0, le=100)
    #: pairs that score less
    threshold: float | None = None
    #: a percentile of fewer pairs than this says nothing and is not applied
    min_group: int = Field(50, ge=1)


class TextSettings(Frozen):
    """Text and watermarks in pictures."""

    reader: Literal["auto", "none", "rapidocr"] = "auto"
    #: model files instead of those that come with rapidocr
    detection_model: Path | None = None
    recognition_model: Path | None = None
    min_score: float = Field(0.6, ge=0, le=1)
    #: share of the picture covered by text above which it is left out
    max_area: float = Field(0.4, gt=0, le=1)
    #: boxes grow by this share of their height on each side
    margin: float = Field(0.25, ge=0)


class BucketSettings(Frozen):
    """The sizes that pictures are brought to."""

    #: all buckets; empty = made from `area_side`
    sizes: tuple[Size, ...] = ()
    #: made buckets have about this many pixels squared
    area_side: int = Field(256, ge=16, le=4096)
    #: made buckets' sides are multiples of this
    multiple: int = Field(32, ge=8)
    max_ratio: float = Field(2.0, ge=1)
    #: "auto" crops where little is lost and pads otherwise
    fit: Literal["auto", "crop", "pad"] = "auto"
    #: share of the picture that "auto" may cut away
    max_crop: float = Field(0.1, ge=0, lt=1)
    #: pictures that would be enlarged more than this are left out
    max_upscale: float = Field(1.0, ge=1)

    @field_validator("sizes")
    @classmethod
    def _sides_fit_the_autoencoder(cls, sizes: tuple[Size, ...]) -> tuple[Size, ...]:
        for size in sizes:
            if any(side < 16 or side > 8192 or side % 8 for side in size):
                raise ValueError(f"{size[0]}x{size[1]}: sides are multiples of 8 from 16 to 8192")
        return sizes


class ShardSettings(Frozen):
    """The files that are written."""

    samples: int = Field(1000, ge=1, le=100_000)
    format: Literal["jpg", "png", "webp"] = "jpg"
    #: of jpg; webp is written without loss
    quality: int = Field(95, ge=1, le=100)


class CurationSettings(Frozen):
    """All options."""

    read: ReadSettings = ReadSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    captions: CaptionSettings = CaptionSettings()
    rewrite: RewriteSettings = RewriteSettings()
    outliers: OutlierSettings = OutlierSettings()
    text: TextSettings = TextSettings()
    buckets: BucketSettings = BucketSettings()
    shards: ShardSettings = ShardSettings()
    #: processes; changes nothing but the time it takes
    workers: int = Field(1, ge=1, le=256)

    @model_validator(mode="after")
    def _a_rewrite_needs_a_model(self) -> Self:
        if self.rewrite.url and not self.rewrite.model:
            raise ValueError("rewrite.url needs rewrite.model as well")
        return self

    @cached_property
    def digest(self) -> str:
        """Names the result: equal for equal options, whatever the number of workers."""
        return digest(self.model_dump(mode="json", exclude={"workers"}))


def read_settings(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, still unchecked; CurationUnusable when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CurationUnusable(f"{path}: {error}") from error


def check_settings(values: dict[str, Any]) -> CurationSettings:
    """The settings from nested tables; CurationUnusable names the option at fault."""
    try:
        return CurationSettings.model_validate(values)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CurationUnusable(f"{place}: {first['msg']}" if place else str(first["msg"])) from None

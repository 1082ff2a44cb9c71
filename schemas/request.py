"""What a customer asks for."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Frozen
from schemas.description import MAX_ALT_CHARS, MAX_LANGUAGES, Language
from schemas.fairness import Mode
from schemas.input_reference import Reference
from schemas.states import Lane

MAX_PROMPT_CHARS = 2000
MAX_IMAGES_PER_REQUEST = 256
MAX_SEED = 2**53 - 1  # every JSON reader keeps integers up to here exactly
MIN_SIDE, MAX_SIDE = 64, 4096

_SIZE = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def parse_size(text: str) -> tuple[int, int]:
    """``"1024x768"`` to (width, height) in pixels; ValueError when malformed or out of range."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 1024x768")
    width, height = int(match[1]), int(match[2])
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
        raise ValueError(f"{text!r}: each side must be {MIN_SIDE} to {MAX_SIDE} pixels")
    return width, height


def _sizes(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _checked_size(value: str) -> str:
    parse_size(value)
    return value


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("the time needs a zone offset (RFC 3339)")
    return value


def _clean_text(value: str) -> str:
    if "\x00" in value or any(0xD800 <= ord(char) <= 0xDFFF for char in value):
        raise ValueError("the text holds characters that are not valid Unicode text")
    return value


Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARS), AfterValidator(_clean_text)]
Size = Annotated[str, AfterValidator(_checked_size)]
Moment = Annotated[datetime, AfterValidator(_aware)]
AltText = Annotated[str, Field(min_length=1, max_length=MAX_ALT_CHARS), AfterValidator(_clean_text)]
Format = Literal["png", "jpeg", "webp", "avif"]
#: Lines that the picture follows: the outlines of a picture, or somebody's own drawing.
ControlKind = Literal["edges", "sketch"]

#: Events of webhooks that a request may ask for.
WebhookEvent = Literal[
    "job.completed",
    "job.progress",
    "batch.completed",
    "batch.progress",
    "image.rendered",
    "image.blocked",
    "image.failed",
    "image.held",
]


class Output(Frozen):
    """How the picture is encoded and where an additional copy goes."""

    format: Format = "png"
    #: 1 to 100 for jpeg, webp and avif; png is lossless and takes none.
    quality: int | None = Field(None, ge=1, le=100)
    #: Key of an additional copy in the customer's bucket, e.g. "catalogue/{sku}.png".
    key: str | None = Field(None, min_length=1, max_length=512)
    #: Languages that the picture is described in; the first is the main one.
    languages: tuple[Language, ...] = Field((), max_length=MAX_LANGUAGES)
    #: The sender's own alt texts, by language; they pass the prompt screen.
    alt: dict[Language, AltText] = Field(default_factory=dict, max_length=MAX_LANGUAGES)
    #: A picture that says nothing carries an empty alt text, and screen readers pass it over.
    decorative: bool = False

    @field_validator("languages")
    @classmethod
    def _each_language_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))

    @field_validator("key")
    @classmethod
    def _safe_key(cls, value: str | None) -> str | None:
        if value is not None and (
            value.startswith("/") or "\\" in value or any(p in ("", ".", "..") for p in value.split("/"))
        ):
            raise ValueError("a key is a relative path without empty, '.' or '..' parts")
        if value is not None and any(char < " " or char == "\x7f" for char in value):
            raise ValueError("a key holds no control characters")
        return value

    @model_validator(mode="after")
    def _quality_fits(self) -> Output:
        if self.format == "png" and self.quality is not None:
            raise ValueError("png is lossless: leave quality out")
        return self


class Webhook(Frozen):
    """Where to report to, and about what."""

    url: str = Field(min_length=1, max_length=2048)
    events: tuple[WebhookEvent, ...] = ("job.completed", "batch.completed")


class Adapter(Frozen):
    """A LoRA adapter by name."""

    name: str = Field(pattern=_NAME)
    weight: float = Field(1.0, ge=-2, le=2)


class Control(Frozen):
    """A picture whose lines the new one follows."""

    kind: ControlKind
    image: Reference
    #: 0 leaves it out, 1 follows it as the model was trained to, 2 twice as hard.
    weight: float = Field(1.0, ge=0, le=2)


class GenerationRequest(Frozen):
    """One request: `n` pictures of one prompt at each of its sizes."""

    prompt: Annotated[Text, Field(min_length=1)]
    negative_prompt: Text = ""
    n: int = Field(1, ge=1, le=64)
    size: Annotated[tuple[Size, ...], BeforeValidator(_sizes), Field(min_length=1, max_length=16)] | None = (
        None
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    steps: int | None = Field(None, ge=1, le=100)
    guidance: float | None = Field(None, ge=0, le=30)
    model: str | None = Field(None, pattern=_NAME)
    adapters: tuple[Adapter, ...] = Field((), max_length=4)
    #: The picture to start from, and where to paint it anew: white is painted, black is kept.
    image: Reference | None = None
    mask: Reference | None = None
    #: How far from `image` the result may go: 1 is as far as without it.
    strength: float | None = Field(None, gt=0, le=1)
    control: tuple[Control, ...] = Field((), max_length=4)
    output: Output = Output()
    policy: str | None = Field(None, pattern=_NAME)
    #: Less of it than the tenant has turned on, never more.
    fairness: Mode | None = None
    lane: Lane = Lane.INTERACTIVE
    start_by: Moment | None = None
    finish_by: Moment | None = None
    webhook: Webhook | None = None
    metadata: dict[str, str] = Field(default_factory=dict, max_length=16)

    @field_validator("mask", "strength")
    @classmethod
    def _with_an_image(cls, value: Any, info: ValidationInfo) -> Any:
        # An image that is itself at fault is missing from `data`, and its own fault is told first.
        if value is not None and "image" in info.data and info.data["image"] is None:
            raise PydanticCustomError(
                "missing_image",
                "{name} needs the image that it is about",
                {"name": info.field_name, "field": "image"},
            )
        return value

    @field_validator("adapters")
    @classmethod
    def _each_once(cls, value: tuple[Adapter, ...]) -> tuple[Adapter, ...]:
        if len({one.name for one in value}) < len(value):
            raise ValueError("an adapter is named once, with its weight")
        return value

    @field_validator("metadata")
    @classmethod
    def _small(cls, value: dict[str, str]) -> dict[str, str]:
        if any(len(key) > 64 or len(text) > 512 for key, text in value.items()):
            raise ValueError("metadata keys are at most 64 characters, values at most 512")
        return value

    @model_validator(mode="after")
    def _not_too_many(self) -> GenerationRequest:
        images = self.n * len(self.size or ("",))
        if images > MAX_IMAGES_PER_REQUEST:
            raise ValueError(
                f"{images} images in one request, at most {MAX_IMAGES_PER_REQUEST}: send a manifest"
            )
        return self


class RecipeInvocation(Frozen):
    """Slots for a named recipe."""

    recipe: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[0-9]{1,6})?$")
    slots: dict[str, str] = Field(max_length=64)
    webhook: Webhook | None = None
    lane: Lane | None = None

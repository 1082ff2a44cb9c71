"""A picture that a request brings, as far as planning needs to know it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from schemas.base import Frozen
from schemas.input_limits import (
    INPUT_MEDIA_TYPES,
    MAX_INPUT_ASPECT,
    MAX_INPUT_BYTES,
    MAX_INPUT_PIXELS,
    MIN_INPUT_SIDE,
)
from schemas.verdict import Verdict

__all__ = [
    "INPUT_MEDIA_TYPES",
    "MAX_INPUT_ASPECT",
    "MAX_INPUT_BYTES",
    "MAX_INPUT_PIXELS",
    "MIN_INPUT_SIDE",
    "CleanPicture",
    "InputImage",
    "JudgedInput",
]


class InputImage(Frozen):
    """A picture that was decoded once and found whole; width and height as it is looked at, in pixels."""

    #: Of the bytes as they came.
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    media_type: str
    bytes: int = Field(ge=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    #: Whether any pixel lets the background through.
    transparent: bool = False
    #: Grey level of the lightest pixel, 0 to 255: a mask without light pixels paints nothing.
    lightest: int = Field(255, ge=0, le=255)


@dataclass(frozen=True, kw_only=True)
class CleanPicture:
    """A picture that was looked at, and the same pixels as a PNG of our own: upright, sRGB, 8 bits, nothing else in it."""

    facts: InputImage
    png: bytes


class JudgedInput(InputImage):
    """A picture that is kept, with what the upload's screens said about it under the policy of the request."""

    verdict: Verdict | None = None

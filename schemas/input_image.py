"""A picture that a request brings, as far as planning needs to know it."""

from __future__ import annotations

from pydantic import Field

from schemas.base import Frozen

MAX_INPUT_BYTES = 20_000_000
MAX_INPUT_PIXELS = 40_000_000
MIN_INPUT_SIDE = 16
#: Longer side to shorter side; what is longer has no subject left once it is cut to a picture's shape.
MAX_INPUT_ASPECT = 16
INPUT_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")


class InputImage(Frozen):
    """A picture that was decoded once and found whole; width and height as it is looked at, in pixels."""

    #: Of the bytes as they came.
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    media_type: str
    bytes: int
    width: int
    height: int
    #: Whether any pixel lets the background through.
    transparent: bool = False
    #: Grey level of the lightest pixel, 0 to 255: a mask without light pixels paints nothing.
    lightest: int = 255

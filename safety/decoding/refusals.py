"""Why a picture is refused: numbers that a decoder process may answer with, and the errors they stand for.

The process that looked at hostile bytes chooses a number and at most two figures; the sentences are ours alone.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from schemas.errors import (
    BadImage,
    ImageAnimated,
    ImageDamaged,
    ImageTooCostly,
    ImageTooLarge,
    ImageUnsupported,
)
from schemas.input_limits import (
    INPUT_MEDIA_TYPES,
    MAX_INPUT_ASPECT,
    MAX_INPUT_BYTES,
    MAX_INPUT_PIXELS,
    MAX_INPUT_SIDE,
    MAX_PROFILE_BYTES,
    MIN_INPUT_SIDE,
)


class Refusal(IntEnum):
    """The wire number of a reason."""

    NOT_A_PICTURE = 1
    OTHER_KIND = 2
    TOO_MANY_BYTES = 3
    TOO_MANY_PIXELS = 4
    SIDE_TOO_LONG = 5
    TOO_SMALL = 6
    TOO_LONG_FOR_ITS_WIDTH = 7
    PROFILE_TOO_LARGE = 8
    NOTES_TOO_LARGE = 9
    ANIMATED = 10
    CUT_OFF = 11
    DAMAGED = 12
    TOO_SLOW = 13
    TOO_MUCH_MEMORY = 14
    CRASHED = 15
    TOO_MANY_PARTS = 16


class Refused(Exception):
    """A picture is refused; `first` and `second` are sizes, each from 0 to 2**32 - 1."""

    def __init__(self, reason: Refusal, first: int = 0, second: int = 0) -> None:
        self.reason, self.first, self.second = reason, first, second
        super().__init__(reason.name)


def error_of(refused: Refused) -> BadImage:
    """The typed error, with the limit that was passed."""
    return _ERRORS[refused.reason](refused.first, refused.second)


#: What else people send; the position is part of the wire between two processes of one installation, nowhere else.
OTHER_KINDS: tuple[str, ...] = (
    "an AVIF file",
    "a HEIC file",
    "a GIF file",
    "a TIFF file",
    "an SVG file",
    "a PDF file",
    "an icon file",
    "a BMP file",
    "a Photoshop file",
    "a PostScript file",
    "a JPEG XL file",
    "a JPEG 2000 file",
)

_SEND = "send a PNG, JPEG or WebP"
_ERRORS: dict[Refusal, Callable[[int, int], BadImage]] = {
    Refusal.NOT_A_PICTURE: lambda _a, _b: ImageUnsupported(
        "not a PNG, JPEG or WebP file", limit=list(INPUT_MEDIA_TYPES)
    ),
    Refusal.OTHER_KIND: lambda kind, _b: ImageUnsupported(
        f"{OTHER_KINDS[kind % len(OTHER_KINDS)]}: {_SEND} instead", limit=list(INPUT_MEDIA_TYPES)
    ),
    Refusal.TOO_MANY_BYTES: lambda size, _b: ImageTooLarge(f"{size} bytes", limit=MAX_INPUT_BYTES),
    Refusal.TOO_MANY_PIXELS: lambda w, h: ImageTooLarge(f"{w}x{h} pixels", limit=MAX_INPUT_PIXELS),
    Refusal.SIDE_TOO_LONG: lambda w, h: ImageTooLarge(
        f"{w}x{h} pixels: a side is too long", limit=MAX_INPUT_SIDE
    ),
    Refusal.TOO_SMALL: lambda w, h: ImageTooLarge(
        f"{w}x{h} pixels: too small to start from", limit=MIN_INPUT_SIDE
    ),
    Refusal.TOO_LONG_FOR_ITS_WIDTH: lambda w, h: ImageTooLarge(
        f"{w}x{h} pixels: too long for its width", limit=f"{MAX_INPUT_ASPECT}:1"
    ),
    Refusal.PROFILE_TOO_LARGE: lambda size, _b: ImageTooLarge(
        f"its colour profile has {size} bytes: send it in sRGB", limit=MAX_PROFILE_BYTES
    ),
    Refusal.NOTES_TOO_LARGE: lambda _a, _b: ImageTooLarge(
        "the texts inside it are too large: leave them out"
    ),
    Refusal.ANIMATED: lambda _a, _b: ImageAnimated("it is animated: send one picture", limit=1),
    Refusal.CUT_OFF: lambda _a, _b: ImageDamaged("the file is cut off"),
    Refusal.DAMAGED: lambda _a, _b: ImageDamaged("the file is damaged and cannot be decoded"),
    Refusal.TOO_SLOW: lambda seconds, _b: ImageTooCostly("it takes too long to decode", limit=f"{seconds} s"),
    Refusal.TOO_MUCH_MEMORY: lambda _a, _b: ImageTooCostly("it takes too much memory to decode"),
    Refusal.TOO_MANY_PARTS: lambda count, _b: ImageTooCostly(
        "it is put together from too many parts: save it anew", limit=count
    ),
    Refusal.CRASHED: lambda _a, _b: ImageDamaged("the file is damaged in a way that breaks its decoder"),
}

"""Hostile bytes to plain pixels: bounded before they are decoded, upright, in sRGB, 8 bits a channel.

Imports only Pillow, so that the process it runs in starts quickly and holds little.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from safety.decoding.magic import media_type
from safety.decoding.refusals import Refusal, Refused
from schemas.input_limits import (
    AVIF,
    MAX_INPUT_ASPECT,
    MAX_INPUT_PIXELS,
    MAX_INPUT_SIDE,
    MAX_PROFILE_BYTES,
    MIN_INPUT_SIDE,
)

_ORIENTATION = 0x0112
#: An honest progressive JPEG has about ten scans, and perhaps a thumbnail with some; an honest PNG of 20 MB some
#: thousand chunks.
_MOST_SCANS, _MOST_CHUNKS = 64, 10_000

#: How to turn a picture upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A picture as it is looked at; `channels` is 4 when any pixel lets the background through, else 3."""

    width: int
    height: int
    channels: int
    pixels: bytes


def open_picture(data: bytes, *, avif: bool = False) -> Opened:
    """The pixels of one whole picture; Refused says what is wrong with anything else."""
    kind = media_type(data, avif=avif)
    if kind == "image/webp":
        # Its decoder sets memory aside for whatever size the header claims, before anybody can look at that.
        _check_size(*_webp_size(data))
    _check_parts(data, kind)
    picture = _header(data, kind)
    orientation, profile = _orientation(picture), picture.info.get("icc_profile")
    if isinstance(profile, bytes) and len(profile) > MAX_PROFILE_BYTES:
        raise Refused(Refusal.PROFILE_TOO_LARGE, len(profile))
    try:
        picture.load()
        upright = picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture
        return _opened(_plain(upright, profile))
    except Exception as error:  # a decoder meets hostile bytes with whatever class comes to it
        raise _undecodable(error) from None


def _check_parts(data: bytes, kind: str) -> None:
    """Each scan of a JPEG costs a pass over all pixels, each chunk of a PNG some work, however small it is."""
    if kind == "image/jpeg" and data.count(b"\xff\xda") > _MOST_SCANS:
        raise Refused(Refusal.TOO_MANY_PARTS, _MOST_SCANS)
    if kind == "image/png":
        place = 8
        for _ in range(_MOST_CHUNKS):
            place += 12 + int.from_bytes(data[place : place + 4], "big")
            if place >= len(data):
                return
        raise Refused(Refusal.TOO_MANY_PARTS, _MOST_CHUNKS)


def _reader(kind: str) -> Callable[[io.BytesIO], ImageFile.ImageFile]:
    """By the class and not by `Image.open`, which would warn about sizes on its own and read other formats too."""
    if kind == AVIF:
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile
    return {"image/png": PngImageFile, "image/jpeg": JpegImageFile, "image/webp": WebPImageFile}[kind]


def _header(data: bytes, kind: str) -> ImageFile.ImageFile:
    """The picture with its header read and its claims within the limits; no pixel is decoded yet."""
    try:
        picture = _reader(kind)(io.BytesIO(data))
        size = picture.size
        frames = int(getattr(picture, "n_frames", 1))
    except Exception as error:
        raise _undecodable(error) from None
    _check_size(*size)
    if frames > 1:
        raise Refused(Refusal.ANIMATED, min(frames, 2**32 - 1))
    if kind == "image/png":
        _verify_checksums(data)
    return picture


def _verify_checksums(data: bytes) -> None:
    """Of all chunks of a PNG, and that it has its last one: decoding alone would not notice."""
    try:
        PngImageFile(io.BytesIO(data)).verify()
    except Exception as error:
        raise _undecodable(error) from None


def _check_size(width: int, height: int) -> None:
    size = (min(width, 2**32 - 1), min(height, 2**32 - 1))
    if min(width, height) < MIN_INPUT_SIDE:
        raise Refused(Refusal.TOO_SMALL, *size)
    if width * height > MAX_INPUT_PIXELS:
        raise Refused(Refusal.TOO_MANY_PIXELS, *size)
    if max(width, height) > MAX_INPUT_ASPECT * min(width, height):
        raise Refused(Refusal.TOO_LONG_FOR_ITS_WIDTH, *size)
    if max(width, height) > MAX_INPUT_SIDE:
        raise Refused(Refusal.SIDE_TOO_LONG, *size)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height that the first chunk claims (RFC 9649)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) == 10 and chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) == 10 and chunk == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if len(body) == 10 and chunk == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise Refused(Refusal.CUT_OFF if len(body) < 10 else Refusal.DAMAGED)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1  # notes about a picture that cannot be read do not make it unreadable


def _undecodable(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return Refused(Refusal.TOO_MUCH_MEMORY)
    words = str(error).lower()
    if "decompressed data too large" in words or "too much memory" in words or "max_text" in words:
        return Refused(Refusal.NOTES_TOO_LARGE)
    cut = "truncated" in words or "eof" in words or "unexpected end" in words
    return Refused(Refusal.CUT_OFF if cut else Refusal.DAMAGED)


def _plain(picture: Image.Image, profile: object) -> Image.Image:
    """RGB in sRGB, or RGBA where a pixel lets the background through."""
    picture = _eight_bits(picture)
    alpha = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha, picture = picture.getchannel("A"), picture.convert("RGB")
        if alpha.getextrema() == (255, 255):
            alpha = None
    elif picture.mode not in ("L", "CMYK"):
        picture = picture.convert("RGB")
    colours = _in_srgb(picture, profile)
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit greys by their upper byte; Pillow would clip them."""
    if not picture.mode.startswith("I"):
        return picture
    upper = picture.convert("I;16").tobytes("raw", "I;16B")[::2]
    return Image.frombytes("L", picture.size, upper)


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """Through its embedded colour profile (ICC.1); one that is unreadable or of another colour space is ignored."""
    if isinstance(profile, bytes) and profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return picture.convert("RGB")


def _opened(picture: Image.Image) -> Opened:
    return Opened(
        width=picture.width,
        height=picture.height,
        channels=len(picture.getbands()),
        pixels=picture.tobytes(),
    )

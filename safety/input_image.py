"""Pictures from customers: recognised by their bytes, bounded before they are decoded, and brought to plain sRGB.

No side effects, so that it can run wherever hostile bytes are best looked at.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from schemas.errors import BadImage
from schemas.input_image import (
    INPUT_MEDIA_TYPES,
    MAX_INPUT_ASPECT,
    MAX_INPUT_BYTES,
    MAX_INPUT_PIXELS,
    MIN_INPUT_SIDE,
    InputImage,
)

#: (height, width, 3), RGB in sRGB.
Pixels = npt.NDArray[np.uint8]

#: Larger profiles are not colour tables of cameras; they are ignored like unreadable ones.
_MAX_PROFILE_BYTES = 4_000_000
#: Above this a JPEG is looked at in eighths: every byte is still read, only the arithmetic is less.
_LARGE_PIXELS = 4_000_000
_ORIENTATION = 0x0112

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
_LYING = frozenset({5, 6, 7, 8})

#: By the class and not by `Image.open`, which would warn about sizes on its own and read other formats too.
_READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/webp": WebPImageFile,
}


def inspect(data: bytes) -> InputImage:
    """Decode a picture once to see that it is one and whole; BadImage says what is wrong with it, and the limit."""
    kind = media_type(data)
    picture = _opened(data, kind)
    orientation = _orientation(picture)
    width, height = picture.size
    if kind == "image/jpeg" and width * height > _LARGE_PIXELS:
        picture.draft(None, (width // 8, height // 8))
    pixels = _loaded(picture)
    lowest_alpha, lightest = _extremes(pixels)
    if orientation in _LYING:
        width, height = height, width
    return InputImage(
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=kind,
        bytes=len(data),
        width=width,
        height=height,
        transparent=lowest_alpha < 255,
        lightest=lightest,
    )


def decode(data: bytes) -> Pixels:
    """The picture as it is looked at: upright, in sRGB, on white; uint8 (H, W, 3). BadImage as `inspect`."""
    picture = _opened(data, media_type(data))
    orientation, profile = _orientation(picture), picture.info.get("icc_profile")
    loaded = _loaded(picture)
    try:
        upright = loaded.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else loaded
        return np.asarray(_on_white(upright, profile))
    except Exception as error:
        raise _undecodable(error) from None


def media_type(data: bytes) -> str:
    """What the first bytes say that it is, whatever it was called; BadImage for anything but PNG, JPEG and WebP."""
    if len(data) > MAX_INPUT_BYTES:
        raise BadImage(f"{len(data)} bytes", limit=MAX_INPUT_BYTES)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise BadImage("not a PNG, JPEG or WebP file", limit=list(INPUT_MEDIA_TYPES))


def _opened(data: bytes, kind: str) -> ImageFile.ImageFile:
    """The picture with its header read and its claims within the limits; no pixel is decoded yet."""
    try:
        picture = _READERS[kind](io.BytesIO(data))
        frames = getattr(picture, "n_frames", 1)
        if kind == "image/png":
            _verify_checksums(data)
    except Exception as error:  # a decoder meets hostile bytes with whatever class comes to it
        raise _undecodable(error) from None
    if frames > 1:
        raise BadImage("it is animated: send one picture", limit=1)
    _check_size(*picture.size)
    return picture


def _verify_checksums(data: bytes) -> None:
    """Of all chunks of a PNG, and that it has its last one: decoding alone would not notice."""
    PngImageFile(io.BytesIO(data)).verify()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_INPUT_PIXELS:
        raise BadImage(f"{width}x{height} pixels", limit=MAX_INPUT_PIXELS)
    if min(width, height) < MIN_INPUT_SIDE:
        raise BadImage(f"{width}x{height} pixels: too small to start from", limit=MIN_INPUT_SIDE)
    if max(width, height) > MAX_INPUT_ASPECT * min(width, height):
        raise BadImage(f"{width}x{height} pixels: too long for its width", limit=f"{MAX_INPUT_ASPECT}:1")


def _loaded(picture: ImageFile.ImageFile) -> Image.Image:
    try:
        picture.load()
    except Exception as error:
        raise _undecodable(error) from None
    return picture


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1  # notes about a picture that cannot be read do not make it unreadable


def _undecodable(error: Exception) -> BadImage:
    cut = "truncated" in str(error)
    return BadImage("the file is cut off" if cut else "the file is damaged and cannot be decoded")


def _extremes(picture: Image.Image) -> tuple[int, int]:
    """Lowest alpha and lightest grey level."""
    try:
        plain = _eight_bits(picture)
        alpha = plain.convert("RGBA").getchannel("A") if plain.has_transparency_data else None
        lowest = alpha.getextrema()[0] if alpha else 255
        return int(lowest), int(plain.convert("L").getextrema()[1])  # type: ignore[arg-type]
    except Exception as error:
        raise _undecodable(error) from None


def _on_white(picture: Image.Image, profile: object) -> Image.Image:
    picture = _eight_bits(picture)
    alpha = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha, picture = picture.getchannel("A"), picture.convert("RGB")
    elif picture.mode not in ("L", "CMYK"):
        picture = picture.convert("RGB")
    colours = _in_srgb(picture, profile)
    if alpha is None:
        return colours
    ground = Image.new("RGB", colours.size, "white")
    ground.paste(colours, mask=alpha)
    return ground


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit greys by their upper byte; Pillow would clip them."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return picture


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """Through its embedded colour profile (ICC.1); one that is unreadable or of another colour space is ignored."""
    if isinstance(profile, bytes) and 0 < len(profile) <= _MAX_PROFILE_BYTES:
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
